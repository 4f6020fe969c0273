// Package powercut rebuilds what a disk holds after the power failed at a
// chosen moment, from the log that QEMU's blklogwrites driver keeps: every
// write up to the last flush, and any of those after it.
//
// The log's format is that of Linux's dm-log-writes target.
package powercut

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

// Flags of an entry.
const (
	flush   = 1 << 0
	fua     = 1 << 1
	discard = 1 << 2
	mark    = 1 << 3
)

const magic = 0x6a736677736872

// Entry is one logged request.
type Entry struct {
	Sector, Sectors uint64
	Flags           uint64
	data            int64 // offset in the log
	End             int64 // offset of the next entry
}

// Durable reports whether the request was complete only when the disk held it.
func (e Entry) Durable() bool { return e.Flags&(flush|fua) != 0 }

// Log is an opened write log.
type Log struct {
	f          *os.File
	sectorSize int64
	Entries    []Entry
}

// Open reads the entries of a log; a torn last one is left out.
func Open(file string) (*Log, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	l := &Log{f: f}
	if err := l.read(); err != nil {
		f.Close()
		return nil, fmt.Errorf("reading write log %s: %w", file, err)
	}
	return l, nil
}

// Close closes the log.
func (l *Log) Close() error { return l.f.Close() }

func (l *Log) read() error {
	info, err := l.f.Stat()
	if err != nil {
		return err
	}
	head := make([]byte, 28)
	if _, err := l.f.ReadAt(head, 0); err != nil {
		return err
	}
	if binary.LittleEndian.Uint64(head) != magic || binary.LittleEndian.Uint64(head[8:]) != 1 {
		return errors.New("no write log of version 1")
	}
	l.sectorSize = int64(binary.LittleEndian.Uint32(head[24:]))
	if l.sectorSize < 512 || l.sectorSize > 1<<16 {
		return fmt.Errorf("sector size %d", l.sectorSize)
	}
	buf := make([]byte, 32)
	for at := l.sectorSize; ; {
		if _, err := l.f.ReadAt(buf, at); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		e := Entry{Sector: binary.LittleEndian.Uint64(buf), Sectors: binary.LittleEndian.Uint64(buf[8:]), Flags: binary.LittleEndian.Uint64(buf[16:])}
		e.data, e.End = at+l.sectorSize, at+l.sectorSize
		if e.Flags&(discard|mark) == 0 {
			e.End += int64(e.Sectors) * l.sectorSize
		}
		if e.End > info.Size() {
			return nil
		}
		l.Entries = append(l.Entries, e)
		at = e.End
	}
}

// Before counts the entries that lay within the first size bytes of the log.
func (l *Log) Before(size int64) int {
	n := 0
	for n < len(l.Entries) && l.Entries[n].End <= size {
		n++
	}
	return n
}

// Cut writes to disk, a copy of what it held when the log began, what it holds
// when the power fails after entry number n (exclusive): everything up to the
// last flush, and a random choice of the later writes, some of them torn.
func (l *Log) Cut(disk string, n int, rnd *rand.Rand) error {
	out, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	safe := 0
	for i, e := range l.Entries[:n] {
		if e.Flags&flush != 0 {
			safe = i
		}
	}
	for i, e := range l.Entries[:n] {
		sectors := e.Sectors
		if i > safe && !e.Durable() {
			switch rnd.IntN(4) {
			case 0:
				continue
			case 1:
				sectors = uint64(rnd.IntN(int(sectors) + 1))
			}
		}
		if err := l.apply(out, e, sectors); err != nil {
			return fmt.Errorf("replaying entry %d: %w", i, err)
		}
	}
	return out.Sync()
}

func (l *Log) apply(out *os.File, e Entry, sectors uint64) error {
	if e.Flags&mark != 0 || sectors == 0 {
		return nil
	}
	var from io.Reader = io.NewSectionReader(l.f, e.data, int64(sectors)*l.sectorSize)
	if e.Flags&discard != 0 {
		from = io.LimitReader(zeros{}, int64(sectors)*l.sectorSize)
	}
	_, err := io.Copy(io.NewOffsetWriter(out, int64(e.Sector)*l.sectorSize), from)
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
