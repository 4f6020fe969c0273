package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ringfence/internal/audio"
)

func create(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func readAll(t *testing.T, in io.Reader) (*WAVReader, []int16) {
	t.Helper()
	r, err := NewWAVReader(in)
	if err != nil {
		t.Fatal(err)
	}
	var all []int16
	buf := make([]int16, 333)
	for {
		n, err := r.Read(buf)
		all = append(all, buf[:n]...)
		if err == io.EOF {
			return r, all
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func ramp(n int) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(i * 7)
	}
	return pcm
}

func TestWAVComesBackAsWritten(t *testing.T) {
	t.Parallel()
	f := create(t, "a.wav")
	w, err := NewWAV(f, 8000, 2)
	if err != nil {
		t.Fatal(err)
	}
	want := ramp(2 * 8000 * 3)
	for part := range slices.Chunk(want, 320) {
		if err := w.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, _ = f.Seek(0, 0)
	r, got := readAll(t, f)
	if r.Rate != 8000 || r.Channels != 2 || !slices.Equal(got, want) {
		t.Errorf("%d channels of %d, %d samples", r.Channels, r.Rate, len(got))
	}
}

// A file that was never closed has all but its last second.
func TestWAVIsValidAfterACrash(t *testing.T) {
	t.Parallel()
	f := create(t, "crash.wav")
	w, _ := NewWAV(f, 8000, 2)
	for part := range slices.Chunk(ramp(2*8000*5+8000), 320) {
		if err := w.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = f.Seek(0, 0)
	if _, got := readAll(t, f); len(got) < 2*8000*4 {
		t.Errorf("%d samples survive of %d", len(got), 2*8000*5+8000)
	}
}

func TestWAVIsBounded(t *testing.T) {
	t.Parallel()
	w := &WAVWriter{file: nil, rate: 8000, channels: 1, size: maxWAV - 10}
	if err := w.Write(make([]int16, 6)); !errors.Is(err, ErrFull) {
		t.Errorf("%v", err)
	}
}

func TestOtherPrograms(t *testing.T) {
	t.Parallel()
	sox, err := exec.LookPath("soxi")
	if err != nil {
		t.Skip("sox is not installed")
	}
	f := create(t, "b.wav")
	w, _ := NewWAV(f, 16000, 2)
	_ = w.Write(ramp(32000))
	_ = w.Close()
	out, err := exec.Command(sox, "-s", f.Name()).Output()
	if err != nil || string(bytes.TrimSpace(out)) != "16000" {
		t.Errorf("sox says %q, %v", out, err)
	}
}

func TestWAVReaderRefuses(t *testing.T) {
	t.Parallel()
	good := func() []byte {
		f := create(t, "x.wav")
		w, _ := NewWAV(f, 8000, 1)
		_ = w.Write(ramp(10))
		_ = w.Close()
		b, _ := os.ReadFile(f.Name())
		return b
	}
	for name, change := range map[string]func(b []byte) []byte{
		"nothing":     func([]byte) []byte { return nil },
		"other magic": func(b []byte) []byte { b[0] = 'X'; return b },
		"mu-law":      func(b []byte) []byte { b[20] = 7; return b },
		"24 bits":     func(b []byte) []byte { b[34] = 24; return b },
		"9 channels":  func(b []byte) []byte { b[22] = 9; return b },
		"no format":   func(b []byte) []byte { return append(b[:12:12], b[36:]...) },
		"huge chunk":  func(b []byte) []byte { copy(b[12:], "LIST"); b[19] = 0x7f; return b },
		"cut short":   func(b []byte) []byte { return b[:30] },
	} {
		if _, err := NewWAVReader(bytes.NewReader(change(good()))); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

// pages checks every page of an Ogg file and returns its packets.
func pages(t *testing.T, b []byte) (packets [][]byte, granule uint64, last byte) {
	t.Helper()
	table := oggTable()
	var packet []byte
	for n := uint32(0); len(b) > 0; n++ {
		if len(b) < 27 || string(b[:4]) != "OggS" || binary.LittleEndian.Uint32(b[18:]) != n {
			t.Fatalf("page %d is none", n)
		}
		segments := b[27 : 27+int(b[26])]
		size := 27 + len(segments)
		at := size
		for _, s := range segments {
			size += int(s)
		}
		sum := binary.LittleEndian.Uint32(b[22:])
		p := bytes.Clone(b[:size])
		clear(p[22:26])
		var crc uint32
		for _, c := range p {
			crc = crc<<8 ^ table[byte(crc>>24)^c]
		}
		if crc != sum {
			t.Errorf("page %d has the checksum %#x, want %#x", n, sum, crc)
		}
		granule, last = binary.LittleEndian.Uint64(b[6:]), b[5]
		for _, s := range segments {
			packet = append(packet, b[at:at+int(s)]...)
			if at += int(s); s < 255 {
				packets = append(packets, packet)
				packet = nil
			}
		}
		b = b[size:]
	}
	return packets, granule, last
}

func TestOggHoldsThePackets(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	w, err := NewOpus(&file, 2)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := audio.Find("opus")
	e, _ := c.NewEncoder(16000)
	var want [][]byte
	for i := range 175 {
		p, err := e.Encode(nil, ramp(320))
		if err != nil {
			t.Fatal(err)
		}
		if i == 50 {
			p = bytes.Repeat([]byte{1}, 510) // laces end in an empty one
		}
		want = append(want, p)
		if err := w.Write(p, 20*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, granule, last := pages(t, file.Bytes())
	if len(got) != 177 || string(got[0][:8]) != "OpusHead" || got[0][9] != 2 || string(got[1][:8]) != "OpusTags" {
		t.Fatalf("%d packets", len(got))
	}
	for i := range want {
		if !bytes.Equal(got[i+2], want[i]) {
			t.Fatalf("packet %d differs", i)
		}
	}
	if granule != 175*960 || last != 4 {
		t.Errorf("granule position %d, flags %d", granule, last)
	}
}

func FuzzWAVReader(f *testing.F) {
	f.Add([]byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x04\x00\x00\x00\x01\x02\x03\x04"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewWAVReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		pcm, n := make([]int16, 100), 0
		for {
			got, err := r.Read(pcm)
			if n += got; err != nil {
				break
			}
		}
		if 2*n > len(b) {
			t.Errorf("%d samples in %d octets", n, len(b))
		}
	})
}
