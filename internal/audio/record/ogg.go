package record

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

const (
	oggSecond = 48000 // of granule positions (RFC 7845 section 4)
	// preSkip is what decoders drop at the start: what the encoder looks ahead
	// (section 4.2).
	preSkip = 312
	page    = time.Second
)

// OpusWriter streams Opus packets into an Ogg file (RFC 3533, RFC 7845). Pages
// stand for themselves, so after a crash all but the last second is there.
type OpusWriter struct {
	out      io.Writer
	serial   uint32
	sequence uint32
	granule  uint64 // at the end of what the page holds
	start    uint64
	segments []byte
	data     []byte
	table    *[256]uint32
}

// NewOpus starts a file with its two header pages.
func NewOpus(out io.Writer, channels int) (*OpusWriter, error) {
	w := &OpusWriter{out: out, serial: rand.Uint32(), table: oggTable()}
	le := binary.LittleEndian
	head := append([]byte("OpusHead"), 1, byte(channels))
	head = le.AppendUint16(head, preSkip)
	head = le.AppendUint32(head, oggSecond)
	head = append(head, 0, 0, 0) // no gain; mono or stereo
	tags := append([]byte("OpusTags"), 9, 0, 0, 0)
	tags = append(tags, "Ringfence"...)
	tags = append(tags, 0, 0, 0, 0)
	for i, h := range [][]byte{head, tags} {
		w.add(h)
		flags := byte(0)
		if i == 0 {
			flags = 2 // beginning of stream
		}
		if err := w.flush(flags); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Write appends a packet that lasts d.
func (w *OpusWriter) Write(packet []byte, d time.Duration) error {
	if len(w.segments)+len(packet)/255+1 > 255 {
		if err := w.flush(0); err != nil {
			return err
		}
	}
	if len(packet) > 60000 {
		return fmt.Errorf("writing Ogg: a packet has %d octets", len(packet))
	}
	w.add(packet)
	w.granule += uint64(d * oggSecond / time.Second)
	if w.granule-w.start >= uint64(page*oggSecond/time.Second) {
		return w.flush(0)
	}
	return nil
}

// Close writes what is left and the end of the stream.
func (w *OpusWriter) Close() error { return w.flush(4) }

// add laces a packet into the page (RFC 3533 section 5).
func (w *OpusWriter) add(packet []byte) {
	w.data = append(w.data, packet...)
	for n := len(packet); ; n -= 255 {
		w.segments = append(w.segments, byte(min(n, 255)))
		if n < 255 {
			return
		}
	}
}

// flush writes a page (RFC 3533 section 6).
func (w *OpusWriter) flush(flags byte) error {
	if len(w.segments) == 0 && flags&4 == 0 {
		return nil
	}
	le := binary.LittleEndian
	p := append([]byte("OggS"), 0, flags)
	p = le.AppendUint64(p, w.granule)
	p = le.AppendUint32(p, w.serial)
	p = le.AppendUint32(p, w.sequence)
	p = append(p, 0, 0, 0, 0, byte(len(w.segments)))
	p = append(p, w.segments...)
	p = append(p, w.data...)
	var sum uint32
	for _, b := range p {
		sum = sum<<8 ^ w.table[byte(sum>>24)^b]
	}
	le.PutUint32(p[22:], sum)
	w.sequence++
	w.segments, w.data, w.start = w.segments[:0], w.data[:0], w.granule
	if _, err := w.out.Write(p); err != nil {
		return fmt.Errorf("writing Ogg page: %w", err)
	}
	return nil
}

// oggTable is that of the checksum: polynomial 0x04c11db7, not reflected.
func oggTable() *[256]uint32 {
	var t [256]uint32
	for i := range t {
		r := uint32(i) << 24
		for range 8 {
			if r&(1<<31) != 0 {
				r = r<<1 ^ 0x04c11db7
			} else {
				r <<= 1
			}
		}
		t[i] = r
	}
	return &t
}
