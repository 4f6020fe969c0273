package disk

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
)

// GUID is a globally unique identifier in the byte order of the disk: the
// first three fields little-endian, the rest as written (UEFI 2.10 appendix A).
type GUID [16]byte

// ParseGUID reads the usual form, 8-4-4-4-12 hexadecimal digits.
func ParseGUID(s string) (GUID, error) {
	raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(raw) != 16 || len(s) != 36 {
		return GUID{}, fmt.Errorf("parsing %q: not a GUID", s)
	}
	return fromBigEndian([16]byte(raw)), nil
}

func fromBigEndian(raw [16]byte) GUID {
	g := GUID(raw)
	binary.LittleEndian.PutUint32(g[0:], binary.BigEndian.Uint32(raw[0:]))
	binary.LittleEndian.PutUint16(g[4:], binary.BigEndian.Uint16(raw[4:]))
	binary.LittleEndian.PutUint16(g[6:], binary.BigEndian.Uint16(raw[6:]))
	return g
}

// DeriveGUID makes a GUID out of a name, the same one each time (RFC 9562
// section 5.8, version 8): an image that is built twice has to be the same.
func DeriveGUID(name string) GUID {
	sum := sha256.Sum256([]byte("ringfence " + name))
	return stamp([16]byte(sum[:16]), 8)
}

// NewGUID reads a random GUID (RFC 9562 section 5.4, version 4).
func NewGUID(random io.Reader) (GUID, error) {
	var raw [16]byte
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		return GUID{}, fmt.Errorf("making a GUID: %w", err)
	}
	return stamp(raw, 4), nil
}

func stamp(raw [16]byte, version byte) GUID {
	raw[6] = raw[6]&0x0f | version<<4
	raw[8] = raw[8]&0x3f | 0x80
	return fromBigEndian(raw)
}

// String returns the usual form in lower case, as the kernel's PARTUUID= takes it.
func (g GUID) String() string {
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x",
		binary.LittleEndian.Uint32(g[0:]), binary.LittleEndian.Uint16(g[4:]), binary.LittleEndian.Uint16(g[6:]),
		g[8:10], g[10:16])
}
