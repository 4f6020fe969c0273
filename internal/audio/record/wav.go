// Package record writes and reads the files of recordings and prompts: WAV, and
// Ogg with Opus.
package record

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	wavHeader = 44
	// maxWAV bounds a file: sizes have 32 bits.
	maxWAV = 1<<32 - 1 - 1<<20
)

// ErrFull says that a file cannot grow any more.
var ErrFull = errors.New("recording is as long as its format allows")

// WAVWriter streams samples of 16 bits into a file. The sizes in its header are
// put right about every second: after a crash the file is valid but for the
// last of it.
type WAVWriter struct {
	file     io.WriterAt
	rate     int
	channels int
	size     int64 // octets of samples written
	header   int64 // of which the header knows
	buffer   []byte
}

// NewWAV starts a file with its header.
func NewWAV(file io.WriterAt, rate, channels int) (*WAVWriter, error) {
	w := &WAVWriter{file: file, rate: rate, channels: channels}
	return w, w.fix()
}

// fix writes the header for what is there.
func (w *WAVWriter) fix() error {
	le := binary.LittleEndian
	h := make([]byte, 0, wavHeader)
	h = append(h, "RIFF"...)
	h = le.AppendUint32(h, uint32(w.size+wavHeader-8))
	h = append(h, "WAVEfmt "...)
	h = le.AppendUint32(h, 16)
	h = le.AppendUint16(h, 1) // PCM
	h = le.AppendUint16(h, uint16(w.channels))
	h = le.AppendUint32(h, uint32(w.rate))
	h = le.AppendUint32(h, uint32(w.rate*w.channels*2))
	h = le.AppendUint16(h, uint16(w.channels*2))
	h = le.AppendUint16(h, 16)
	h = append(h, "data"...)
	h = le.AppendUint32(h, uint32(w.size))
	if _, err := w.file.WriteAt(h, 0); err != nil {
		return fmt.Errorf("writing WAV header: %w", err)
	}
	w.header = w.size
	return nil
}

// Write appends interleaved samples.
func (w *WAVWriter) Write(pcm []int16) error {
	if w.size+int64(2*len(pcm)) > maxWAV {
		return ErrFull
	}
	w.buffer = w.buffer[:0]
	for _, s := range pcm {
		w.buffer = append(w.buffer, byte(s), byte(s>>8))
	}
	if _, err := w.file.WriteAt(w.buffer, wavHeader+w.size); err != nil {
		return fmt.Errorf("writing samples: %w", err)
	}
	w.size += int64(len(w.buffer))
	if w.size-w.header >= int64(2*w.rate*w.channels) {
		return w.fix()
	}
	return nil
}

// Close finishes the header. The file stays open.
func (w *WAVWriter) Close() error { return w.fix() }

// WAVReader streams the samples of a file of PCM with 16 bits.
type WAVReader struct {
	Rate     int
	Channels int

	in   *bufio.Reader
	left int64
}

// maxChunk is the longest chunk before the samples that is passed over.
const maxChunk = 1 << 20

// NewWAVReader reads up to the samples.
func NewWAVReader(in io.Reader) (*WAVReader, error) {
	r := &WAVReader{in: bufio.NewReader(in)}
	var head [12]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		return nil, fmt.Errorf("reading WAV header: %w", err)
	}
	if string(head[:4]) != "RIFF" || string(head[8:]) != "WAVE" {
		return nil, errors.New("reading WAV header: this is no WAV file")
	}
	for range 64 {
		name, size, err := r.chunk()
		if err != nil {
			return nil, fmt.Errorf("reading WAV header: %w", err)
		}
		switch {
		case name == "fmt ":
			err = r.format(size)
		case name == "data" && r.Rate == 0:
			err = errors.New("samples come before their format")
		case name == "data":
			r.left = size
			return r, nil
		case size > maxChunk:
			err = fmt.Errorf("chunk %q has %d octets", name, size)
		default:
			_, err = io.CopyN(io.Discard, r.in, size+size&1)
		}
		if err != nil {
			return nil, fmt.Errorf("reading WAV header: %w", err)
		}
	}
	return nil, errors.New("reading WAV header: too many chunks")
}

func (r *WAVReader) chunk() (name string, size int64, err error) {
	var h [8]byte
	if _, err := io.ReadFull(r.in, h[:]); err != nil {
		return "", 0, err
	}
	return string(h[:4]), int64(binary.LittleEndian.Uint32(h[4:])), nil
}

func (r *WAVReader) format(size int64) error {
	if size < 16 || size > maxChunk {
		return fmt.Errorf("format has %d octets", size)
	}
	f := make([]byte, size+size&1)
	if _, err := io.ReadFull(r.in, f); err != nil {
		return err
	}
	le := binary.LittleEndian
	tag, channels, rate, depth := le.Uint16(f), le.Uint16(f[2:]), le.Uint32(f[4:]), le.Uint16(f[14:])
	if tag == 0xfffe && size >= 26 {
		tag = le.Uint16(f[24:]) // WAVE_FORMAT_EXTENSIBLE names it here
	}
	if tag != 1 || depth != 16 {
		return fmt.Errorf("format %d with %d bits; PCM with 16 is known", tag, depth)
	}
	if channels < 1 || channels > 2 || rate < 8000 || rate > 48000 {
		return fmt.Errorf("%d channels of %d samples a second", channels, rate)
	}
	r.Rate, r.Channels = int(rate), int(channels)
	return nil
}

// Read fills pcm with interleaved samples and returns their number; io.EOF
// comes after the last. A file that ends before its header says so ends there.
func (r *WAVReader) Read(pcm []int16) (int, error) {
	for i := range pcm {
		if r.left < 2 {
			return i, eof(i)
		}
		lo, err := r.in.ReadByte()
		if err != nil {
			return i, eof(i)
		}
		hi, err := r.in.ReadByte()
		if err != nil {
			return i, eof(i)
		}
		pcm[i] = int16(uint16(lo) | uint16(hi)<<8)
		r.left -= 2
	}
	return len(pcm), nil
}

func eof(n int) error {
	if n > 0 {
		return nil
	}
	return io.EOF
}
