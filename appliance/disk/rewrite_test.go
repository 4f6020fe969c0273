package disk

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tearing is a disk in memory that loses power after a number of sectors. The
// sectors of one write arrive in order or back to front.
type tearing struct {
	memory
	left     int
	backward bool
}

func (d *tearing) WriteAt(p []byte, off int64) (int, error) {
	count := len(p) / SectorSize
	for i := range count {
		if d.left == 0 {
			return 0, errors.New("power cut")
		}
		d.left--
		n := i
		if d.backward {
			n = count - 1 - i
		}
		at := n * SectorSize
		copy(d.data[off+int64(at):], p[at:at+SectorSize])
	}
	return len(p), nil
}

// small is a table for a disk of 8 MiB, with room for a second set of entries.
func small(t *testing.T) *Table {
	t.Helper()
	table := &Table{Disk: DeriveGUID("small"), Sectors: 8 * MiB / SectorSize}
	for i, name := range []string{"one", "two", "three", "four", PermName} {
		first := uint64(i+1) * MiB / SectorSize
		table.Parts = append(table.Parts, Partition{Number: i + 1, Type: DeriveGUID("type"), ID: DeriveGUID(name), Name: name, First: first, Last: first + MiB/SectorSize - 1})
	}
	return table
}

// TestRewriteNeverBreaksTheFirstCopy cuts the power after every single sector
// of growing and renewing a table: the first copy is then valid, and wholly
// the old or wholly the new one. The kernel looks at no other.
func TestRewriteNeverBreaksTheFirstCopy(t *testing.T) {
	t.Parallel()
	const size = 9 * MiB
	base := make([]byte, size)
	old := small(t)
	if err := old.Write(&memory{base}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, backward := range []bool{false, true} {
		for cut := range 80 {
			d := &tearing{memory{bytes.Clone(base)}, cut, backward}
			for range 2 { // twice, to come back to the first place
				table, err := Read(d, size)
				if err != nil {
					t.Fatal(err)
				}
				before := fmt.Sprint(table.Disk, table.Parts)
				if _, err := table.Grow(size); err != nil {
					t.Fatal(err)
				}
				if err := table.Renew(rand.Reader); err != nil {
					t.Fatal(err)
				}
				werr := table.Write(d)
				got, err := readCopy(d, primaryHeader, size/SectorSize)
				if err != nil {
					t.Fatalf("cut after %d sectors: %v", cut, err)
				}
				switch now := fmt.Sprint(got.Disk, got.Parts); {
				case now == before && werr != nil:
					seen["old"]++
				case now == fmt.Sprint(table.Disk, table.Parts):
					seen["new"]++
				default:
					t.Fatalf("cut after %d sectors (write: %v): neither old nor new: %s", cut, werr, now)
				}
				d.left = 1000 // power is back
			}
		}
	}
	if seen["old"] < 100 || seen["new"] < 100 {
		t.Errorf("the cuts hit one side only: %v", seen)
	}
}

func TestNoRoomForNewEntries(t *testing.T) {
	t.Parallel()
	table := small(t)
	table.Parts[0].First = firstUsable
	d := &memory{make([]byte, 8*MiB)}
	if err := table.Write(d); err != nil {
		t.Fatal(err)
	}
	table, err := Read(d, 8*MiB)
	if err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(d.data)
	if err := table.Write(d); !errors.Is(err, ErrNoTable) || !bytes.Equal(before, d.data) {
		t.Errorf("got %v, or the disk was touched", err)
	}
}

// TestOthersAcceptRewrittenTables lets sgdisk judge a table after each of
// three rewrites on a disk that grew.
func TestOthersAcceptRewrittenTables(t *testing.T) {
	t.Parallel()
	sgdisk, err := exec.LookPath("sgdisk")
	if err != nil {
		if sgdisk = "/usr/sbin/sgdisk"; exec.Command(sgdisk, "-V").Run() != nil {
			t.Skip("sgdisk is not installed")
		}
	}
	for _, size := range []int64{9 * MiB, 9*MiB + 4096, 200*MiB + 512, 3 << 40} {
		path := filepath.Join(t.TempDir(), "disk")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		table := small(t)
		if err := errors.Join(f.Truncate(size), table.WriteProtectiveMBR(f, []byte("boot")), table.Write(f)); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if table, err = Read(f, size); err != nil {
				t.Fatal(err)
			}
			if _, err := table.Grow(size); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(table.Renew(rand.Reader), table.Write(f), table.ExtendProtectiveMBR(f)); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(sgdisk, "-v", "-p", path).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "No problems found") || !strings.Contains(strings.ToLower(string(out)), table.Disk.String()) {
				t.Errorf("%d bytes: %v\n%s", size, err, out)
			}
			if perm, _ := table.Part(Perm); size-perm.Offset()-perm.Size() > MiB+backupSectors*SectorSize {
				t.Errorf("%d bytes: %s ends at %d", size, PermName, perm.Offset()+perm.Size())
			}
		}
		head := make([]byte, 4)
		if _, err := f.ReadAt(head, 0); err != nil || string(head) != "boot" {
			t.Errorf("boot code became %q, %v", head, err)
		}
	}
}

func FuzzRewrite(f *testing.F) {
	d := &memory{make([]byte, MiB)}
	table := &Table{Sectors: MiB / SectorSize, Parts: []Partition{{Number: 1, Type: DeriveGUID("x"), First: 100, Last: 200, Name: "x"}}}
	if err := table.Write(d); err != nil {
		f.Fatal(err)
	}
	f.Add(d.data[:70*SectorSize])
	f.Fuzz(func(t *testing.T, head []byte) {
		d := &memory{make([]byte, MiB)}
		copy(d.data, head)
		table, err := Read(d, MiB)
		if err != nil || table.Write(d) != nil {
			return
		}
		if _, err := Read(d, MiB); err != nil {
			t.Errorf("what was written cannot be read: %v", err)
		}
	})
}
