package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var seedFiles = []File{
	{"user-data", []byte("#cloud-config\nhostname: pbx\n")},
	{"meta-data", []byte("instance-id: i-1\n")},
	{"network-config", bytes.Repeat([]byte("# a comment longer than a block\n"), 300)},
}

func open(t *testing.T, image []byte) *Volume {
	t.Helper()
	v, err := Open(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// hold checks that v holds exactly the seed files.
func hold(t *testing.T, v *Volume) {
	t.Helper()
	for _, f := range seedFiles {
		got, err := v.ReadFile(f.Name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, f.Data) {
			t.Errorf("%s: got %d bytes that differ from the %d written", f.Name, len(got), len(f.Data))
		}
	}
	if _, err := v.ReadFile("vendor-data", 1<<20); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: got %v", err)
	}
	if _, err := v.ReadFile("NETWORK-CONFIG", 100); err == nil || !strings.Contains(err.Error(), "more than the 100 allowed") {
		t.Errorf("limit: got %v", err)
	}
}

func seedISO(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteISO(&b, "cidata", seedFiles); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestISORoundTrip(t *testing.T) {
	t.Parallel()
	image := seedISO(t)
	v := open(t, image)
	if v.Kind != "iso9660" || v.Label != "cidata" {
		t.Errorf("got %s labelled %q", v.Kind, v.Label)
	}
	hold(t, v)
	if !bytes.Equal(image, seedISO(t)) {
		t.Error("equal input gave different bytes")
	}
}

func TestISORefusesBadNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a/b", strings.Repeat("x", 65)} {
		if err := WriteISO(&bytes.Buffer{}, "cidata", []File{{Name: name}}); err == nil {
			t.Errorf("name %q was accepted", name)
		}
	}
	if err := WriteISO(&bytes.Buffer{}, strings.Repeat("l", 17), nil); err == nil {
		t.Error("a label of 17 was accepted")
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		for _, dir := range []string{"/usr/sbin", "/sbin"} {
			if _, serr := os.Stat(filepath.Join(dir, name)); serr == nil {
				path, err = filepath.Join(dir, name), nil
			}
		}
	}
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func writeSeedFiles(t *testing.T) (dir string, paths []string) {
	t.Helper()
	dir = t.TempDir()
	for _, f := range seedFiles {
		p := filepath.Join(dir, f.Name)
		if err := os.WriteFile(p, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	return dir, paths
}

// TestReadsOtherWritersISO reads what the usual seed tools write.
func TestReadsOtherWritersISO(t *testing.T) {
	t.Parallel()
	for _, extensions := range [][]string{{"-joliet", "-rock"}, {"-joliet"}, {"-rock"}} {
		t.Run(strings.Join(extensions, ""), func(t *testing.T) {
			t.Parallel()
			dir, paths := writeSeedFiles(t)
			image := filepath.Join(dir, "seed.iso")
			run(t, "genisoimage", slices.Concat([]string{"-quiet", "-output", image, "-volid", "cidata"}, extensions, paths)...)
			data, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			v := open(t, data)
			if v.Label != "cidata" {
				t.Errorf("label %q", v.Label)
			}
			hold(t, v)
		})
	}
}

// TestOthersReadOurISO asks another implementation about WriteISO's output.
func TestOthersReadOurISO(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "seed.iso")
	if err := os.WriteFile(path, seedISO(t), 0o600); err != nil {
		t.Fatal(err)
	}
	list := run(t, "isoinfo", "-J", "-f", "-i", path)
	for _, f := range seedFiles {
		if !strings.Contains(list, "/"+f.Name) {
			t.Errorf("isoinfo does not see %s:\n%s", f.Name, list)
		}
	}
	if got := run(t, "isoinfo", "-J", "-i", path, "-x", "/user-data"); got != string(seedFiles[0].Data) {
		t.Errorf("isoinfo extracts %q", got)
	}
}

func TestReadsFAT(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		bits, kib int
	}{{12, 1024}, {16, 16 << 10}, {32, 64 << 10}} {
		t.Run(fmt.Sprint(c.bits), func(t *testing.T) {
			t.Parallel()
			dir, paths := writeSeedFiles(t)
			image := filepath.Join(dir, "seed.img")
			run(t, "mkfs.vfat", "-C", "-F", fmt.Sprint(c.bits), "-n", "CIDATA", image, fmt.Sprint(c.kib))
			run(t, "mcopy", slices.Concat([]string{"-i", image}, paths, []string{"::"})...)
			data, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			v := open(t, data)
			if v.Kind != "vfat" || v.Label != "CIDATA" {
				t.Errorf("got %s labelled %q", v.Kind, v.Label)
			}
			hold(t, v)
		})
	}
}

func TestRefusesOtherDevices(t *testing.T) {
	t.Parallel()
	mbr := make([]byte, 1<<20)
	mbr[0], mbr[510], mbr[511] = 0xeb, 0x55, 0xaa
	for name, image := range map[string][]byte{
		"empty": nil, "short": make([]byte, 100), "zeros": make([]byte, 1<<20), "boot sector": mbr,
	} {
		if _, err := Open(bytes.NewReader(image), int64(len(image))); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestTruncatedISOIsAnError(t *testing.T) {
	t.Parallel()
	image := seedISO(t)
	cut := image[:isoRootAt*isoBlock+10]
	if _, err := Open(bytes.NewReader(cut), int64(len(cut))); err == nil || errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
	cut = image[:isoFilesAt*isoBlock+1]
	v := open(t, cut)
	if _, err := v.ReadFile("user-data", 1<<20); err == nil {
		t.Error("a file beyond the end of the device was read")
	}
}

func FuzzOpen(f *testing.F) {
	// The file system begins at block 16; fuzz that part only.
	iso := seedISO(f)
	f.Add(true, iso[isoFirstDescr*isoBlock:])
	boot := make([]byte, 4096)
	copy(boot, "\xeb\x3c\x90mkfs.fat\x00\x02\x01\x01\x00\x01\x10\x00\x40\x00\xf8\x01\x00")
	boot[510], boot[511] = 0x55, 0xaa
	f.Add(false, boot)
	f.Fuzz(func(t *testing.T, isISO bool, data []byte) {
		if isISO {
			data = append(make([]byte, isoFirstDescr*isoBlock), data...)
		}
		v, err := Open(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		if n := len(v.Files()); n > maxEntries {
			t.Errorf("%d files", n)
		}
		_, _ = v.ReadFile("openstack/latest/meta_data.json", 1<<16)
		for _, name := range v.Files() {
			if got, err := v.ReadFile(name, 1<<16); err == nil && len(got) > 1<<16 {
				t.Errorf("limit ignored: %d bytes", len(got))
			}
		}
	})
}
