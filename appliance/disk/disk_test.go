package disk

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ringfence/appliance/slot"
)

// memory is a disk in memory.
type memory struct{ data []byte }

func (m *memory) WriteAt(p []byte, off int64) (int, error) { return copy(m.data[off:], p), nil }
func (m *memory) ReadAt(p []byte, off int64) (int, error)  { return copy(p, m.data[off:]), nil }
func (m *memory) Sync() error                              { return nil }

// sparse is a disk of any size that holds what was written to it.
type sparse struct{ *os.File }

// Sync does nothing: no test cuts the power of this machine.
func (sparse) Sync() error { return nil }

func image(t *testing.T, size int64) sparse {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return sparse{f}
}

func TestGUID(t *testing.T) {
	t.Parallel()
	const text = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
	g, err := ParseGUID(strings.ToUpper(text))
	if err != nil || g.String() != text {
		t.Errorf("%s, %v", g, err)
	}
	if g[0] != 0x28 || g[3] != 0xc1 || g[8] != 0xba {
		t.Errorf("bytes on disk are % x", g[:])
	}
	for _, bad := range []string{"", text[1:], strings.ReplaceAll(text, "-", ""), "x" + text[1:]} {
		if _, err := ParseGUID(bad); err == nil {
			t.Errorf("%q was parsed", bad)
		}
	}
	if d := DeriveGUID("x").String(); d[14] != '8' || d == DeriveGUID("y").String() {
		t.Errorf("derived GUID is %s", d)
	}
	r, err := NewGUID(bytes.NewReader(bytes.Repeat([]byte{0xff}, 16)))
	if err != nil || r.String() != "ffffffff-ffff-4fff-bfff-ffffffffffff" {
		t.Errorf("random GUID is %s, %v", r, err)
	}
	if _, err := NewGUID(strings.NewReader("short")); err == nil {
		t.Error("a GUID without randomness")
	}
}

func TestLayout(t *testing.T) {
	t.Parallel()
	table, err := Layout(MinSize)
	if err != nil {
		t.Fatal(err)
	}
	var end int64
	for i, p := range table.Parts {
		if p.Number != i+1 || p.Offset()%MiB != 0 || p.Size()%MiB != 0 || p.Size() <= 0 {
			t.Errorf("partition %d: offset %d, size %d", p.Number, p.Offset(), p.Size())
		}
		if i > 0 && p.Offset() != end {
			t.Errorf("partition %d begins at %d, the one before ends at %d", p.Number, p.Offset(), end)
		}
		end = p.Offset() + p.Size()
	}
	if end != MinSize-MiB {
		t.Errorf("last partition ends at %d", end)
	}
	for _, bad := range []int64{0, MinSize - MiB, MinSize + 1, -MiB} {
		if _, err := Layout(bad); err == nil {
			t.Errorf("an image of %d bytes was laid out", bad)
		}
	}
	if RootPart(slot.A) != RootA || RootPart(slot.B) != RootB || RootPart("") != 0 {
		t.Error("RootPart names the wrong partition")
	}
}

func TestReadBack(t *testing.T) {
	t.Parallel()
	f := image(t, MinSize)
	want, err := Layout(MinSize)
	if err != nil {
		t.Fatal(err)
	}
	if err := want.Write(f); err != nil {
		t.Fatal(err)
	}
	got, err := Read(f, MinSize)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, want)
	// Each copy alone is enough; without both there is no table.
	if _, err := f.WriteAt(make([]byte, SectorSize), SectorSize); err != nil {
		t.Fatal(err)
	}
	if got, err = Read(f, MinSize); err != nil {
		t.Fatal(err)
	}
	equal(t, got, want)
	if _, err := f.WriteAt([]byte{1}, MinSize-SectorSize*33); err != nil {
		t.Fatal(err)
	}
	if _, err = Read(f, MinSize); !errors.Is(err, ErrNoTable) {
		t.Errorf("both copies are damaged: %v", err)
	}
}

func equal(t *testing.T, got, want *Table) {
	t.Helper()
	if got.Disk != want.Disk || got.Sectors != want.Sectors || len(got.Parts) != len(want.Parts) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	for i := range got.Parts {
		if got.Parts[i] != want.Parts[i] {
			t.Errorf("got %+v, want %+v", got.Parts[i], want.Parts[i])
		}
	}
}

func TestGrow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		size     int64
		changed  bool
		permEnds int64
	}{
		{"same disk", MinSize, false, MinSize - MiB},
		{"one sector more", MinSize + SectorSize, true, MinSize - MiB},
		{"room for the second copy in the next MiB", MinSize + 33*SectorSize, true, MinSize},
		{"one MiB more", MinSize + MiB, true, MinSize},
		{"20 GB, not whole MiB", 20_000_000_000, true, 20_000_000_000 / MiB * MiB},
		{"16 TiB", 16 << 40, true, 16<<40 - MiB},
	} {
		table, err := Layout(MinSize)
		if err != nil {
			t.Fatal(err)
		}
		changed, err := table.Grow(c.size)
		if err != nil || changed != c.changed {
			t.Errorf("%s: changed %v, %v", c.name, changed, err)
		}
		perm, _ := table.Part(Perm)
		if end := perm.Offset() + perm.Size(); end != c.permEnds {
			t.Errorf("%s: ends at %d, want %d", c.name, end, c.permEnds)
		}
		if got, want := perm.Ext4Blocks(), uint64(perm.Size()/4096); got != want {
			t.Errorf("%s: %d blocks, want %d", c.name, got, want)
		}
		if again, err := table.Grow(c.size); again || err != nil {
			t.Errorf("%s: grows a second time: %v, %v", c.name, again, err)
		}
	}
}

func TestGrowRefusesSmallerDisk(t *testing.T) {
	t.Parallel()
	table, err := Layout(MinSize)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.Grow(MinSize - SectorSize); err == nil {
		t.Error("the table shrank")
	}
	if _, err := (&Table{Sectors: 1 << 20}).Grow(1 << 30); err == nil {
		t.Error("an empty table grew")
	}
}

// cutWriter stops to write after a number of sectors, as a power cut does.
type cutWriter struct {
	f    sparse
	left int
}

func (c *cutWriter) WriteAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); n += SectorSize {
		if c.left == 0 {
			return n, errors.New("power cut")
		}
		c.left--
		if _, err := c.f.WriteAt(p[n:n+SectorSize], off+int64(n)); err != nil {
			return n, err
		}
	}
	return len(p), nil
}

func (c *cutWriter) Sync() error { return nil }

func TestPowerCutWhileGrowing(t *testing.T) {
	t.Parallel()
	const size = MinSize + 100*MiB
	f := image(t, size)
	for cut := range 67 {
		old, err := Layout(MinSize)
		if err != nil {
			t.Fatal(err)
		}
		if err := old.Write(f); err != nil {
			t.Fatal(err)
		}
		grown, err := Layout(MinSize)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := grown.Grow(size); err != nil {
			t.Fatal(err)
		}
		err = grown.Write(&cutWriter{f, cut})
		if done := cut == 66; (err == nil) != done {
			t.Fatalf("cut after %d sectors: %v", cut, err)
		}
		got, err := Read(f, size)
		if err != nil {
			t.Fatalf("cut after %d sectors: %v", cut, err)
		}
		if got.Sectors != old.Sectors && got.Sectors != grown.Sectors {
			t.Errorf("cut after %d sectors: table of %d sectors", cut, got.Sectors)
		}
	}
}

func TestRenew(t *testing.T) {
	t.Parallel()
	table, err := Layout(MinSize)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[GUID]bool{table.Disk: true}
	for _, p := range table.Parts {
		seen[p.ID] = true
	}
	if err := table.Renew(rand.NewChaCha8([32]byte{1})); err != nil {
		t.Fatal(err)
	}
	for _, id := range append([]GUID{table.Disk}, table.Parts[0].ID, table.Parts[1].ID, table.Parts[2].ID, table.Parts[3].ID, table.Parts[4].ID) {
		if seen[id] {
			t.Errorf("%s is not new", id)
		}
		seen[id] = true
	}
	if table.Parts[2].Name != slot.A.RootLabel() {
		t.Errorf("name became %q", table.Parts[2].Name)
	}
	if err := table.Renew(strings.NewReader("")); err == nil {
		t.Error("GUIDs without randomness")
	}
}

// TestToolsAgree asks two programs that are not ours.
func TestToolsAgree(t *testing.T) {
	t.Parallel()
	f := image(t, MinSize)
	table, err := Layout(MinSize)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(table.Write(f), table.WriteProtectiveMBR(f, []byte("boot"))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tool string
		args []string
		want []string
	}{
		{"sgdisk", []string{"--verify", "--print", f.Name()}, []string{"No problems found", "EF02", "EF00", "ringfence-root-b", "ringfence-perm"}},
		{"sfdisk", []string{"--verify", f.Name()}, []string{"No errors detected"}},
		{"sfdisk", []string{"--json", f.Name()}, []string{`"label": "gpt"`, `C12A7328-F81F-11D2-BA4B-00A0C93EC93B`, `"name": "ringfence-root-a"`}},
	} {
		path, err := exec.LookPath(c.tool)
		if err != nil {
			t.Skipf("%s is not installed (packages gdisk and fdisk)", c.tool)
		}
		out, err := exec.Command(path, c.args...).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", c.tool, err, out)
		}
		for _, want := range c.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s does not say %q:\n%s", c.tool, want, out)
			}
		}
	}
	if err := table.WriteProtectiveMBR(f, make([]byte, 441)); err == nil {
		t.Error("boot code ran into the partition record")
	}
}

func TestWriteRefusesNonsense(t *testing.T) {
	t.Parallel()
	good, err := Layout(MinSize)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Table){
		"overlap":          func(t *Table) { t.Parts[1].Last = t.Parts[2].First },
		"past the end":     func(t *Table) { t.Parts[4].Last = t.Sectors },
		"before the table": func(t *Table) { t.Parts[0].First = 1 },
		"backwards":        func(t *Table) { t.Parts[0].Last = t.Parts[0].First - 1 },
		"number twice":     func(t *Table) { t.Parts[1].Number = 1 },
		"number 0":         func(t *Table) { t.Parts[1].Number = 0 },
		"long name":        func(t *Table) { t.Parts[1].Name = strings.Repeat("x", 37) },
		"tiny disk":        func(t *Table) { t.Sectors = 10 },
	} {
		table := *good
		table.Parts = append([]Partition(nil), good.Parts...)
		change(&table)
		if err := table.Write(&memory{}); err == nil {
			t.Errorf("%s: was written", name)
		}
	}
}

func FuzzRead(f *testing.F) {
	table := &Table{Disk: DeriveGUID("disk"), Sectors: 128, Parts: []Partition{{Number: 1, Type: DeriveGUID("t"), First: 40, Last: 60, Name: "x"}}}
	m := &memory{make([]byte, 128*SectorSize)}
	if err := table.Write(m); err != nil {
		f.Fatal(err)
	}
	f.Add(m.data)
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := Read(&memory{data}, int64(len(data)))
		if err != nil {
			return
		}
		if err := table.check(); err != nil {
			t.Errorf("read an unsound table: %v", err)
		}
	})
}
