package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// The witness is a small file beside the database that records how far the
// acknowledged commits got. SQLite takes a write-ahead log that was zeroed, cut
// or flipped for one that ends early, and would open with older settings
// without a word; the witness tells. It is written and synced after each
// commit and before its acknowledgement, in two slots by turns, so that a torn
// write spoils at most the slot being written.

const (
	witnessSlot  = 512 // one sector
	witnessMagic = "RFWITNS1"
)

// progress is what the witness records.
type progress struct {
	Commits uint64
	Seq     uint64 // of the last change row
	Head    [32]byte
}

type witness struct {
	f    *os.File
	last progress
}

func encodeProgress(p progress) []byte {
	b := make([]byte, 0, witnessSlot)
	b = append(b, witnessMagic...)
	b = binary.BigEndian.AppendUint64(b, p.Commits)
	b = binary.BigEndian.AppendUint64(b, p.Seq)
	b = append(b, p.Head[:]...)
	sum := sha256.Sum256(b)
	b = append(b, sum[:]...)
	return append(b, make([]byte, witnessSlot-len(b))...)
}

func decodeProgress(b []byte) (p progress, ok bool) {
	const size = len(witnessMagic) + 16 + 32
	if len(b) < size+32 || string(b[:len(witnessMagic)]) != witnessMagic {
		return p, false
	}
	if sum := sha256.Sum256(b[:size]); !bytes.Equal(sum[:], b[size:size+32]) {
		return p, false
	}
	p.Commits = binary.BigEndian.Uint64(b[8:])
	p.Seq = binary.BigEndian.Uint64(b[16:])
	copy(p.Head[:], b[24:])
	return p, true
}

// createWitness writes both slots, whole or not at all.
func createWitness(path string, p progress) error {
	slot := encodeProgress(p)
	if err := writeFile(path, append(bytes.Clone(slot), slot...), 0o600); err != nil {
		return fmt.Errorf("creating witness file: %w", err)
	}
	return nil
}

// openWitness reads the newer slot. ok is false if no slot is readable.
func openWitness(path string) (w *witness, ok bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, false, fmt.Errorf("opening witness file: %w", err)
	}
	var b [2 * witnessSlot]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		f.Close()
		return nil, false, fmt.Errorf("reading witness file: %w", err)
	}
	w = &witness{f: f}
	for i := 0; i+witnessSlot <= n; i += witnessSlot {
		if p, good := decodeProgress(b[i : i+witnessSlot]); good && (!ok || p.Commits > w.last.Commits) {
			w.last, ok = p, true
		}
	}
	return w, ok, nil
}

// record makes p durable.
func (w *witness) record(p progress) error {
	off := int64(p.Commits%2) * witnessSlot
	if _, err := w.f.WriteAt(encodeProgress(p), off); err != nil {
		return fmt.Errorf("writing witness file: %w", err)
	}
	if err := fdatasync(w.f); err != nil {
		return fmt.Errorf("syncing witness file: %w", err)
	}
	w.last = p
	return nil
}

func (w *witness) close() error { return w.f.Close() }
