package metadata

import (
	"bytes"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxTable bounds the firmware's table, in bytes; 64 KiB is all that SMBIOS 2
// allows.
const maxTable = 1 << 20

// firmware is what the firmware says of the machine (DSP0134, the SMBIOS
// specification, structures 0, 1 and 3).
type firmware struct {
	vendor, product, uuid, biosVersion, assetTag string
}

// readFirmware takes the kernel's words for it or, where a kernel has none,
// the table itself, which only root may read.
func readFirmware(root string) firmware {
	say := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, "sys/class/dmi/id", name))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(text))
	}
	f := firmware{
		vendor: say("sys_vendor"), product: say("product_name"), uuid: say("product_uuid"),
		biosVersion: say("bios_version"), assetTag: say("chassis_asset_tag"),
	}
	if f != (firmware{}) {
		return f
	}
	table, err := os.Open(filepath.Join(root, "sys/firmware/dmi/tables/DMI"))
	if err != nil {
		return f
	}
	defer table.Close()
	data, err := io.ReadAll(io.LimitReader(table, maxTable))
	if err != nil {
		return f
	}
	return parseFirmware(data)
}

// parseFirmware walks a table (DSP0134 section 6.1): each structure has type,
// length, handle and fields, then its strings, and two zeros at the end. The
// first of each type counts.
func parseFirmware(table []byte) (f firmware) {
	var seen [256]bool
	for len(table) >= 4 && int(table[1]) >= 4 && int(table[1]) <= len(table) {
		kind, fields := table[0], table[:table[1]]
		rest := table[len(fields):]
		end := bytes.Index(rest, []byte{0, 0})
		if end < 0 {
			return f
		}
		texts := bytes.Split(rest[:end], []byte{0})
		table = rest[end+2:]
		if seen[kind] {
			continue
		}
		seen[kind] = true
		text := func(at int) string {
			if at >= len(fields) || fields[at] == 0 || int(fields[at]) > len(texts) {
				return ""
			}
			return strings.TrimSpace(string(texts[fields[at]-1]))
		}
		switch kind {
		case 0:
			f.biosVersion = text(0x05)
		case 1:
			f.vendor, f.product = text(0x04), text(0x05)
			if len(fields) >= 0x18 {
				f.uuid = uuidText(fields[0x08:0x18])
			}
		case 3:
			f.assetTag = text(0x08)
		case 127:
			return f
		}
	}
	return f
}

// uuidText is the beginning of a UUID: its first field is little-endian since
// SMBIOS 2.6 (DSP0134 section 7.2.1).
func uuidText(b []byte) string {
	first := slices.Clone(b[:4])
	slices.Reverse(first)
	return hex.EncodeToString(first) + "-" + hex.EncodeToString(b[4:])
}
