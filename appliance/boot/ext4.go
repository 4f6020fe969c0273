package boot

import (
	"encoding/binary"
	"errors"
)

// parseSuperblock reads the number and the size of blocks from an ext4
// superblock.
func parseSuperblock(sb []byte) (count, size uint64, err error) {
	const (
		magicAt, magic     = 0x38, 0xef53
		incompatAt, bits64 = 0x60, 0x80
	)
	le := binary.LittleEndian
	if len(sb) < 0x154 || le.Uint16(sb[magicAt:]) != magic {
		return 0, 0, errors.New("no ext4 superblock")
	}
	shift := le.Uint32(sb[0x18:])
	if shift > 6 {
		return 0, 0, errors.New("ext4 superblock has an impossible block size")
	}
	count = uint64(le.Uint32(sb[4:]))
	if le.Uint32(sb[incompatAt:])&bits64 != 0 {
		count |= uint64(le.Uint32(sb[0x150:])) << 32
	}
	return count, 1024 << shift, nil
}
