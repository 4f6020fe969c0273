package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ringfence/internal/audio"
)

// Format is how a recording is written.
type Format uint8

// The formats: samples of 16 bits, and Opus in Ogg.
const (
	WAV Format = iota
	Opus
)

const (
	// part is added to the name of a recording that is not complete.
	part = ".part"
	// synced is how much of a recording a power cut may take.
	synced = 5 * time.Second
	// frame is what an Opus packet lasts.
	frame = 20 * time.Millisecond
)

// File is a recording of two voices, one on the left and one on the right. It
// grows under a name that ends in .part and gets its own by Close; what is
// there can be read at any time, also after a crash (see Recover).
type File struct {
	path    string
	file    *os.File
	rate    int
	wav     *WAVWriter
	ogg     *OpusWriter
	encoder audio.Encoder
	packet  []byte
	pending int // samples of a voice that are not on the disk for sure
}

// Create starts a file. There must be none of its name.
func Create(path string, f Format, rate int) (*File, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("creating recording %s: %w", path, os.ErrExist)
	}
	file, err := os.OpenFile(path+part, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("creating recording: %w", err)
	}
	r := &File{path: path, file: file, rate: rate}
	if f == Opus {
		if r.encoder, err = audio.NewStereoOpus(rate); err == nil {
			r.ogg, err = NewOpus(file, 2)
		}
	} else {
		r.wav, err = NewWAV(file, rate, 2)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("creating recording: %w", err), file.Close(), os.Remove(file.Name()))
	}
	return r, nil
}

// Write appends samples, left and right in turns. Of Opus these are whole frames
// of 20 ms.
func (f *File) Write(pcm []int16) error {
	if err := f.append(pcm); err != nil {
		return err
	}
	if f.pending += len(pcm) / 2; f.pending < audio.Samples(synced, f.rate) {
		return nil
	}
	f.pending = 0
	if err := f.file.Sync(); err != nil {
		return fmt.Errorf("bringing a recording to the disk: %w", err)
	}
	return nil
}

func (f *File) append(pcm []int16) error {
	if f.wav != nil {
		return f.wav.Write(pcm)
	}
	for n := 2 * audio.Samples(frame, f.rate); len(pcm) >= n; pcm = pcm[n:] {
		var err error
		if f.packet, err = f.encoder.Encode(f.packet[:0], pcm[:n]); err != nil {
			return err
		}
		if err := f.ogg.Write(f.packet, frame); err != nil {
			return err
		}
	}
	return nil
}

// Close completes the file and gives it its name.
func (f *File) Close() error {
	var err error
	if f.wav != nil {
		err = f.wav.Close()
	} else {
		err = f.ogg.Close()
	}
	if err = errors.Join(err, f.file.Sync(), f.file.Close(), os.Rename(f.path+part, f.path), syncFolder(filepath.Dir(f.path))); err != nil {
		return fmt.Errorf("completing a recording: %w", err)
	}
	return nil
}

// syncFolder makes the names in a folder last.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Recover completes the recordings of a folder that a crash has left, and
// returns their paths. It is called when none is being made.
func Recover(folder string) (recovered []string, err error) {
	left, err := filepath.Glob(filepath.Join(folder, "*"+part))
	if err != nil {
		return nil, fmt.Errorf("looking for recordings cut short: %w", err)
	}
	for _, name := range left {
		path := strings.TrimSuffix(name, part)
		if fail := errors.Join(mend(name), os.Rename(name, path)); fail != nil {
			err = errors.Join(err, fmt.Errorf("completing a recording cut short: %w", fail))
			continue
		}
		recovered = append(recovered, path)
	}
	if len(recovered) > 0 {
		err = errors.Join(err, syncFolder(folder))
	}
	return recovered, err
}

// mend lets the header of a WAV file know of all that is there; others need
// nothing.
func mend(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var head [wavHeader]byte
	if n, _ := f.ReadAt(head[:], 0); n < wavHeader || string(head[:4]) != "RIFF" {
		return nil
	}
	size := min(info.Size()-wavHeader, maxWAV) &^ 3 // whole samples of both voices
	binary.LittleEndian.PutUint32(head[4:], uint32(size+wavHeader-8))
	binary.LittleEndian.PutUint32(head[40:], uint32(size))
	if _, err := f.WriteAt(head[:], 0); err != nil {
		return err
	}
	return f.Sync()
}
