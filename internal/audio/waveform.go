package audio

// plain decodes payloads and knows nothing of loss.
type plain interface {
	Decode(pcm []int16, payload []byte) (int, error)
}

// waveform adds to a plain codec of one rate what every decoder has: another
// rate, and concealment of loss.
type waveform struct {
	codec     plain
	concealer *concealer
	resampler *Resampler // nil where the rates are the same
	native    []int16
	ratio     [2]int // native samples for those asked for
}

func newWaveform(codec plain, native, rate int) (Decoder, error) {
	w := &waveform{codec: codec, concealer: newConcealer(native), ratio: [2]int{native, rate}}
	w.native = make([]int16, Samples(MaxPacket, native))
	if native != rate {
		w.resampler = NewResampler(native, rate)
	}
	return w, nil
}

func (w *waveform) Decode(pcm []int16, payload []byte) (int, error) {
	n, err := w.codec.Decode(w.native, payload)
	if err != nil {
		return 0, err
	}
	w.concealer.good(w.native[:n])
	return w.give(pcm, n)
}

func (w *waveform) give(pcm []int16, n int) (int, error) {
	if n*w.ratio[1]/w.ratio[0] > len(pcm) {
		return 0, errLong
	}
	if w.resampler == nil {
		return copy(pcm, w.native[:n]), nil
	}
	return w.resampler.Process(pcm, w.native[:n]), nil
}

func (w *waveform) Conceal(pcm []int16, _ []byte) {
	for len(pcm) > 0 {
		n := min(len(pcm)*w.ratio[0]/w.ratio[1], len(w.native))
		if n == 0 {
			clear(pcm)
			return
		}
		w.concealer.lost(w.native[:n])
		got, err := w.give(pcm, n)
		if err != nil || got == 0 {
			clear(pcm)
			return
		}
		pcm = pcm[got:]
	}
}

// resampledEncoder feeds a codec of one rate with samples of another.
type resampledEncoder struct {
	codec     Encoder
	resampler *Resampler
	native    []int16
}

func newResampledEncoder(codec Encoder, native, rate int) (Encoder, error) {
	if native == rate {
		return codec, nil
	}
	return &resampledEncoder{codec, NewResampler(rate, native), make([]int16, Samples(MaxPacket, native)+1)}, nil
}

func (e *resampledEncoder) Encode(payload []byte, pcm []int16) ([]byte, error) {
	if e.resampler.Out(len(pcm)) > len(e.native) {
		return payload, errLong
	}
	return e.codec.Encode(payload, e.native[:e.resampler.Process(e.native, pcm)])
}
