package metadata

import (
	"os"
	"path/filepath"
	"testing"
)

// structure is one of an SMBIOS table.
func structure(kind byte, fields []byte, texts ...string) []byte {
	s := append([]byte{kind, byte(4 + len(fields)), 0, 0}, fields...)
	for _, t := range texts {
		s = append(append(s, t...), 0)
	}
	if len(texts) == 0 {
		s = append(s, 0)
	}
	return append(s, 0)
}

func machineTable(bios, vendor, product, tag string, uuid []byte) []byte {
	system := append([]byte{1, 2, 0, 0}, uuid...)
	var table []byte
	for _, s := range [][]byte{
		structure(0, []byte{1, 2, 0, 0}, "Somebody", bios), structure(1, append(system, 6, 0, 0), vendor, product),
		structure(4, make([]byte, 30)), structure(3, []byte{1, 1, 0, 0, 2, 3}, "Maker", tag), structure(1, []byte{1, 1}, "Amazon EC2"), structure(127, nil),
	} {
		table = append(table, s...)
	}
	return table
}

// The table itself is read where the kernel has no words for it.
func TestDetectByTheFirmwaresTable(t *testing.T) {
	t.Parallel()
	plain := make([]byte, 16)
	xen := append([]byte{0x12, 0xc3, 0x2a, 0xec}, plain[4:]...) // ec2ac312-..., little-endian
	for want, table := range map[Cloud][]byte{
		AWS:    machineTable("1.0", "Amazon EC2", "t3.small", "", plain),
		Azure:  machineTable("1.0", "Microsoft Corporation", "Virtual Machine", azureAssetTag, plain),
		Google: machineTable("Google", "Google", "Google Compute Engine", "x", plain),
		"":     machineTable("1.0", "QEMU", "Standard PC", "", xen),
	} {
		if got := detectTable(t, table); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := detectTable(t, machineTable("4.11.amazon", "Xen", "HVM domU", "", xen)); got != AWS {
		t.Errorf("a Xen instance: %q", got)
	}
}

func detectTable(t *testing.T, table []byte) Cloud {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "sys/firmware/dmi/tables")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "DMI"), table, 0o400); err != nil {
		t.Fatal(err)
	}
	return Detect(root)
}

func FuzzFirmware(f *testing.F) {
	f.Add(machineTable("1.0", "Amazon EC2", "t3.small", "tag", make([]byte, 16)))
	f.Add([]byte{1, 4, 0, 0, 0, 0, 127, 4, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, table []byte) {
		if f := parseFirmware(table); len(f.vendor) > len(table) {
			t.Errorf("%+v", f)
		}
	})
}
