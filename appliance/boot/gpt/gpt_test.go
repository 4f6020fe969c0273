package gpt

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const mib = 1 << 20

func sgdisk(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("sgdisk")
	if err != nil {
		if path = "/usr/sbin/sgdisk"; exec.Command(path, "-V").Run() != nil {
			t.Skip("sgdisk is not installed")
		}
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("sgdisk %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// image makes a disk image with the appliance's layout by another
// implementation, of 64 MiB, then makes the file size bytes long.
func image(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 64*mib); err != nil {
		t.Fatal(err)
	}
	sgdisk(t, "-n", "1:2048:4095", "-t", "1:ef02", "-n", "2:4096:+8M", "-t", "2:ef00", "-c", "2:esp",
		"-n", "3:0:+8M", "-c", "3:ringfence-root-a", "-n", "4:0:+8M", "-c", "4:ringfence-root-b", "-n", "5:0:+16M", "-c", "5:ringfence-perm", path)
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) (*Table, *os.File, int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	table, err := Read(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	return table, f, info.Size()
}

// verify asks sgdisk whether the table is without fault.
func verify(t *testing.T, path string) {
	t.Helper()
	if out := sgdisk(t, "-v", path); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk finds fault:\n%s", out)
	}
}

func TestGUID(t *testing.T) {
	t.Parallel()
	const esp = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
	g, err := ParseGUID(strings.ToUpper(esp))
	if err != nil || g.String() != esp || g[0] != 0x28 {
		t.Errorf("got %v (% x), %v", g, g[:], err)
	}
	for _, bad := range []string{"", "x", esp[1:], strings.ReplaceAll(esp, "-", "")} {
		if _, err := ParseGUID(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	a, b := NewGUID(), NewGUID()
	if a == b || a.String()[14] != '4' {
		t.Errorf("random GUIDs %s %s", a, b)
	}
}

// TestGrowAndNewGUIDs grows the last partition, gives new GUIDs, and lets
// sgdisk judge, for several sizes, twice each (the array changes its place).
func TestGrowAndNewGUIDs(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{64 * mib, 65*mib + 4096, 200*mib + 512, 3 << 40} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			path := image(t, size)
			for round := range 2 {
				table, f, n := read(t, path)
				perm := table.ByName("ringfence-perm")
				if perm == nil || perm.Number != 5 {
					t.Fatalf("perm is %+v", perm)
				}
				before := *perm
				changed, err := table.Grow(perm, n)
				if err != nil {
					t.Fatal(err)
				}
				if grows := perm.Last > before.Last; round == 0 && !grows || round == 1 && (grows || changed) {
					t.Errorf("round %d: from %d to %d, changed %v", round, before.Last, perm.Last, changed)
				}
				if perm.Size()%mib != 0 || n-perm.Start()-perm.Size() > mib+34*Sector {
					t.Errorf("perm has %d bytes at %d of %d", perm.Size(), perm.Start(), n)
				}
				table.DiskGUID = NewGUID()
				for i := range table.Partitions {
					table.Partitions[i].GUID = NewGUID()
				}
				if err := table.Write(f, n); err != nil {
					t.Fatal(err)
				}
				verify(t, path)
				again, _, _ := read(t, path)
				if fmt.Sprint(again.Partitions) != fmt.Sprint(table.Partitions) || again.DiskGUID != table.DiskGUID {
					t.Errorf("read back %+v", again)
				}
				if out := sgdisk(t, "-p", path); !strings.Contains(strings.ToLower(out), table.DiskGUID.String()) {
					t.Errorf("sgdisk sees another disk GUID:\n%s", out)
				}
			}
		})
	}
}

// cut is a file that loses power after a number of sector writes: the rest
// never arrives. Sectors written since the last Sync may arrive in any order,
// so it can also drop single ones.
type cut struct {
	data   []byte
	budget int
	tear   bool // arrays arrive back to front
}

func (c *cut) ReadAt(p []byte, off int64) (int, error) { return copy(p, c.data[off:]), nil }
func (c *cut) Sync() error                             { return nil }
func (c *cut) WriteAt(p []byte, off int64) (int, error) {
	sectors := len(p) / Sector
	for i := range sectors {
		if c.budget <= 0 {
			return 0, errors.New("power cut")
		}
		c.budget--
		n := i
		if c.tear {
			n = sectors - 1 - i
		}
		copy(c.data[off+int64(n*Sector):], p[n*Sector:(n+1)*Sector])
	}
	return len(p), nil
}

// TestPowerCutAtEverySector: after each possible cut the primary table is
// valid and is either the old or the new one, whole. The kernel looks at
// nothing else.
func TestPowerCutAtEverySector(t *testing.T) {
	t.Parallel()
	path := image(t, 70*mib)
	base, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old, _, size := read(t, path)
	for _, tear := range []bool{false, true} {
		work := bytes.Clone(base)
		seenOld, seenNew := 0, 0
		for budget := range 200 {
			copy(work, base)
			c := &cut{data: work, budget: budget, tear: tear}
			table, err := Read(c, size)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := table.Grow(table.Partition(5), size); err != nil {
				t.Fatal(err)
			}
			table.DiskGUID = NewGUID()
			werr := table.Write(c, size)
			got, err := readHeader(c, 1, uint64(size/Sector))
			switch {
			case err != nil:
				t.Fatalf("cut after %d sectors: %v", budget, err)
			case got.DiskGUID == old.DiskGUID && fmt.Sprint(got.Partitions) == fmt.Sprint(old.Partitions):
				seenOld++
			case got.DiskGUID == table.DiskGUID && fmt.Sprint(got.Partitions) == fmt.Sprint(table.Partitions):
				seenNew++
			default:
				t.Fatalf("cut after %d sectors: neither old nor new: %+v", budget, got)
			}
			if werr == nil && got.DiskGUID != table.DiskGUID {
				t.Fatalf("cut after %d sectors: write said it was done", budget)
			}
			// The next boot does it again and succeeds.
			c.budget = 1000
			again, err := Read(c, size)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := again.Grow(again.Partition(5), size); err != nil {
				t.Fatal(err)
			}
			if err := again.Write(c, size); err != nil {
				t.Fatal(err)
			}
		}
		if seenOld < 60 || seenNew < 60 {
			t.Errorf("%d times the old table, %d times the new one", seenOld, seenNew)
		}
	}
}

func TestBackupIsUsedWhenThePrimaryIsBroken(t *testing.T) {
	t.Parallel()
	path := image(t, 64*mib)
	good, _, _ := read(t, path)
	for _, damage := range []int64{1 * Sector, 1*Sector + 60, 2*Sector + 20} {
		table, f, size := read(t, path)
		if err := table.Write(f, size); err != nil { // make both whole again
			t.Fatal(err)
		}
		at := damage
		if at >= 2*Sector {
			at = int64(table.entriesAt)*Sector + 20
		}
		if _, err := f.WriteAt([]byte{0xff, 0xff}, at); err != nil {
			t.Fatal(err)
		}
		table, f, size = read(t, path)
		if !table.backupOnly || fmt.Sprint(table.Partitions) != fmt.Sprint(good.Partitions) {
			t.Errorf("damage at %d: %+v", damage, table)
		}
		if err := table.Write(f, size); err != nil {
			t.Fatal(err)
		}
		verify(t, path)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	if _, err := Read(bytes.NewReader(make([]byte, mib)), mib); !errors.Is(err, ErrNoTable) {
		t.Errorf("empty disk: %v", err)
	}
	table, _, size := read(t, image(t, 64*mib))
	if _, err := table.Grow(table.Partition(3), size); err == nil {
		t.Error("a partition in the middle was grown")
	}
	if _, err := table.Grow(table.Partition(5), 30*mib); err == nil {
		t.Error("a disk smaller than its table was accepted")
	}
	if table.Partition(9) != nil || table.ByName("x") != nil {
		t.Error("found what is not there")
	}
}

func FuzzRead(f *testing.F) {
	table := &Table{DiskGUID: NewGUID(), entriesAt: 2, firstUsable: 34, lastUsable: 2000, Partitions: []Partition{{Number: 1, Type: NewGUID(), GUID: NewGUID(), First: 100, Last: 200, Name: "x"}}}
	disk := &cut{data: make([]byte, mib), budget: 1000}
	if err := table.Write(disk, mib); err != nil {
		f.Fatal(err)
	}
	f.Add(disk.data[:70*Sector])
	f.Fuzz(func(t *testing.T, head []byte) {
		data := make([]byte, mib)
		copy(data, head)
		table, err := Read(bytes.NewReader(data), mib)
		if err != nil {
			return
		}
		if err := table.Write(&cut{data: data, budget: 1000}, mib); err != nil {
			return
		}
		if _, err := Read(bytes.NewReader(data), mib); err != nil {
			t.Errorf("what was written cannot be read: %v", err)
		}
	})
}
