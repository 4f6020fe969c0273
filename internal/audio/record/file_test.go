package record

import (
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/thesyncim/gopus"

	"ringfence/internal/audio"
	"ringfence/internal/siptest"
)

// voices are samples of a tone on the left and one on the right.
func voices(left, right float64, rate, n int) []int16 {
	pcm := make([]int16, 0, 2*n)
	for i := range n {
		for _, hz := range []float64{left, right} {
			pcm = append(pcm, int16(8000*math.Sin(2*math.Pi*hz*float64(i)/float64(rate))))
		}
	}
	return pcm
}

// split parts the two voices.
func split(pcm []int16) (left, right []int16) {
	for i := 0; i+1 < len(pcm); i += 2 {
		left, right = append(left, pcm[i]), append(right, pcm[i+1])
	}
	return left, right
}

func TestFileHasItsNameWhenItIsComplete(t *testing.T) {
	t.Parallel()
	for _, f := range []Format{WAV, Opus} {
		path := filepath.Join(t.TempDir(), "call")
		r, err := Create(path, f, 16000)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Create(path, f, 16000); !errors.Is(err, os.ErrExist) {
			t.Errorf("a second one of the same name: %v", err)
		}
		if err := r.Write(voices(440, 880, 16000, 3200)); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("it has its name already")
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		if _, err := os.Stat(path + part); err == nil {
			t.Error("the other name is still there")
		}
		if _, err := Create(path, f, 16000); !errors.Is(err, os.ErrExist) {
			t.Errorf("it is made again: %v", err)
		}
	}
}

// A recording that nobody completed is completed by the next start, with all
// that was written, not only what its header knew.
func TestRecordingsCutShortAreRecovered(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for name, f := range map[string]Format{"a.wav": WAV, "b.ogg": Opus} {
		r, err := Create(filepath.Join(folder, name), f, 8000)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Write(voices(440, 880, 8000, 8000*7/2)); err != nil {
			t.Fatal(err)
		}
		r.file.Close() // and no more
	}
	if err := os.WriteFile(filepath.Join(folder, "c.wav"+part), []byte("RI"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Recover(folder)
	if err != nil || len(got) != 3 {
		t.Fatalf("%v, %v", got, err)
	}
	f, err := os.Open(filepath.Join(folder, "a.wav"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if r, pcm := readAll(t, f); r.Channels != 2 || len(pcm) != 8000*7 {
		t.Errorf("%d samples of %d", len(pcm), 8000*7)
	}
	b, _ := os.ReadFile(filepath.Join(folder, "b.ogg"))
	if packets, _, _ := pages(t, b); len(packets) < 2+100 {
		t.Errorf("%d packets of Opus", len(packets))
	}
	if got, err := Recover(folder); len(got) != 0 || err != nil {
		t.Errorf("again: %v, %v", got, err)
	}
}

// The two voices of an Ogg file stay apart.
func TestOpusKeepsTheVoicesApart(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{8000, 16000} {
		e, err := audio.NewStereoOpus(rate)
		if err != nil {
			t.Fatal(err)
		}
		all := voices(440, 880, rate, 2*rate)
		all = append(all, voices(660, 0, rate, 2*rate)...)
		left, right := decodeOpus(t, rate, func(packet func([]byte)) {
			for n := 2 * audio.Samples(20*time.Millisecond, rate); len(all) >= n; all = all[n:] {
				p, err := e.Encode(nil, all[:n])
				if err != nil {
					t.Fatal(err)
				}
				packet(p)
			}
		})
		half := len(left) / 2
		for _, c := range []struct {
			what string
			pcm  []int16
			hz   float64
		}{{"left", left[half/8 : half], 440}, {"right", right[half/8 : half], 880}, {"left alone", left[half+half/8:], 660}} {
			if s := siptest.Share(c.pcm, rate, c.hz); s < 0.9 {
				t.Errorf("%d, %s: share %.3f", rate, c.what, s)
			}
		}
		if n := audio.NoiseOf(right[half+half/8:]); n < 40 {
			t.Errorf("%d: nobody speaks at -%d dBov", rate, n)
		}
	}
}

func TestWriteSaysWhenTheDiskFails(t *testing.T) {
	t.Parallel()
	r, err := Create(filepath.Join(t.TempDir(), "x.wav"), WAV, 8000)
	if err != nil {
		t.Fatal(err)
	}
	r.file.Close()
	if err := r.Write(make([]int16, 320)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
	if err := r.Close(); err == nil {
		t.Error("it is complete")
	}
}

// decodeOpus decodes the packets of two voices that encode gives.
func decodeOpus(t *testing.T, rate int, encode func(packet func([]byte))) (left, right []int16) {
	t.Helper()
	d, err := gopus.NewDecoder(gopus.DefaultDecoderConfig(rate, 2))
	if err != nil {
		t.Fatal(err)
	}
	pcm := make([]int16, 2*rate/50)
	encode(func(p []byte) {
		n, err := d.DecodeInt16(p, pcm)
		if err != nil {
			t.Fatal(err)
		}
		l, r := split(pcm[:2*n])
		left, right = append(left, l...), append(right, r...)
	})
	return left, right
}

// BenchmarkSecond is what a second of two voices costs to write.
func BenchmarkSecond(b *testing.B) {
	for name, c := range map[string]struct {
		format Format
		rate   int
	}{"WAV/8000": {WAV, 8000}, "WAV/16000": {WAV, 16000}, "Opus/8000": {Opus, 8000}, "Opus/16000": {Opus, 16000}} {
		b.Run(name, func(b *testing.B) {
			f, err := Create(filepath.Join(b.TempDir(), "x"), c.format, c.rate)
			if err != nil {
				b.Fatal(err)
			}
			pcm := voices(440, 880, c.rate, c.rate)
			b.ReportAllocs()
			for b.Loop() {
				for part := range slices.Chunk(pcm, len(pcm)/5) { // five times a second
					if err := f.Write(part); err != nil {
						b.Fatal(err)
					}
				}
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
