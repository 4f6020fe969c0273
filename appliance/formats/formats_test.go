package formats

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// sample is an image of whole MiB with data here and there, some of it random,
// some of it compressible, alone and in rows, at the beginning and at the end.
func sample(t *testing.T, mib int64, islands int) (Image, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sample.raw")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(mib << 20); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, uint64(islands)))
	put := func(at int64, n int) {
		data := bytes.Repeat([]byte("ringfence "), n/10+1)[:n]
		for i := range data[:n/2] {
			data[i] = byte(rnd.Uint32())
		}
		if _, err := f.WriteAt(data, at); err != nil {
			t.Fatal(err)
		}
	}
	put(0, 512)
	put(mib<<20-512, 512)
	for range islands {
		put(rnd.Int64N(mib<<20-4*Block), 1+rnd.IntN(3*Block))
	}
	return Image{ReaderAt: f, Size: mib << 20, Name: "sample", Version: "1.0<&>", Time: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)}, path
}

func sumOf(t *testing.T, r io.Reader) string {
	t.Helper()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func need(t *testing.T, tool string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Skipf("%s is not installed (make deps)", tool)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// written makes a file of it.
func written(t *testing.T, name string, write func(*os.File) error) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestZstdUnpacksToTheImage(t *testing.T) {
	t.Parallel()
	img, _ := sample(t, 40, 30)
	var b bytes.Buffer
	var last int64
	if err := WriteZstd(t.Context(), &b, img, func(done, total int64) {
		if done < last || total != img.Size {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last = done
	}); err != nil || last != img.Size {
		t.Fatal(err, last)
	}
	var head zstd.Header
	if err := head.Decode(b.Bytes()[:zstd.HeaderMaxSize]); err != nil || !head.HasFCS || head.FrameContentSize != uint64(img.Size) {
		t.Errorf("header %+v, %v", head, err)
	}
	d, err := zstd.NewReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got, want := sumOf(t, d), sumOf(t, io.NewSectionReader(img, 0, img.Size)); got != want {
		t.Errorf("unpacked sum %s, want %s", got, want)
	}
}

// qemu-img is the other implementation: it finds the VMDK sound and its content
// the same, also one that does not end on a grain or on a table.
func TestVMDKIsTheImage(t *testing.T) {
	t.Parallel()
	need(t, "qemu-img")
	for _, c := range []struct {
		mib     int64
		islands int
	}{{20, 12}, {1, 0}, {33, 3}, {100, 2}} {
		img, raw := sample(t, c.mib, c.islands)
		if c.mib == 33 {
			img.Size -= 3 * sector
			raw = written(t, "short.raw", func(f *os.File) error {
				_, err := io.Copy(f, io.NewSectionReader(img, 0, img.Size))
				return err
			})
		}
		path := written(t, "sample.vmdk", func(f *os.File) error { return WriteVMDK(t.Context(), f, img, nil) })
		run(t, "qemu-img", "compare", "-f", "raw", "-F", "vmdk", raw, path)
		run(t, "qemu-img", "check", "-f", "vmdk", path)
		if info := run(t, "qemu-img", "info", "-f", "vmdk", path); !strings.Contains(info, "create type: streamOptimized") {
			t.Errorf("%s", info)
		}
	}
}

// The footer is byte for byte qemu-img's, but for creator, identifier and what
// depends on them; by the specification's words for the rest.
func TestVHDFooterIsExact(t *testing.T) {
	t.Parallel()
	need(t, "qemu-img")
	for _, mib := range []int64{1, 40, 300} {
		img, raw := sample(t, mib, 3)
		ours := written(t, "ours.vhd", func(f *os.File) error { return WriteVHD(t.Context(), f, img, nil) })
		theirs := filepath.Join(t.TempDir(), "theirs.vhd")
		run(t, "qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=fixed,force_size=on", raw, theirs)
		if same := run(t, "qemu-img", "compare", "-f", "raw", "-F", "vpc", raw, ours); !strings.Contains(same, "identical") || strings.Contains(same, "size") {
			t.Errorf("%d MiB: %s", mib, same)
		}
		info, err := os.Stat(ours)
		if err != nil || info.Size() != mib<<20+512 {
			t.Fatalf("%d MiB: file of %d bytes, %v", mib, info.Size(), err)
		}
		a, b := lastSector(t, ours), lastSector(t, theirs)
		if binary.BigEndian.Uint32(a[24:]) != uint32(img.Time.Unix()-946684800) {
			t.Errorf("time stamp % x", a[24:28])
		}
		if got := binary.BigEndian.Uint32(a[vhdChecksum:]); got != Checksum(a) || binary.BigEndian.Uint32(b[vhdChecksum:]) != Checksum(b) {
			t.Errorf("checksum %08x of % x", got, a)
		}
		for _, f := range [][]byte{a, b} {
			for _, own := range [][2]int{{24, 36}, {56, 60}, {64, 84}} { // time and creator; geometry; checksum and identifier
				clear(f[own[0]:own[1]])
			}
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%d MiB: footers differ:\n% x\n% x", mib, a[:96], b[:96])
		}
	}
}

func lastSector(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	info, err := data.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 512)
	if _, err := data.ReadAt(b, info.Size()-512); err != nil {
		t.Fatal(err)
	}
	return b
}

// The geometry of a dynamic disk without force_size is qemu-img's own
// calculation of the same appendix.
func TestVHDGeometry(t *testing.T) {
	t.Parallel()
	need(t, "qemu-img")
	for _, size := range []int64{1 << 20, 40 << 20, 504 << 20, 2 << 30, 8 << 30, 100 << 30, 1 << 40} {
		c, h, s := Geometry(size)
		// What fits in the geometry never exceeds the disk, and misses less
		// than a cylinder of it up to the largest that it can say.
		chs := int64(c) * int64(h) * int64(s)
		if total := size / 512; chs > total || size < 127<<30 && total-chs >= int64(h)*int64(s) {
			t.Errorf("%d bytes: %d/%d/%d", size, c, h, s)
		}
		// An image of just that many sectors is one that qemu-img need not round.
		if size > 2<<30 {
			continue
		}
		path := filepath.Join(t.TempDir(), "x.vhd")
		run(t, "qemu-img", "create", "-q", "-f", "vpc", "-o", "subformat=fixed", path, fmt.Sprint(chs*512))
		f := lastSector(t, path)
		if got := binary.BigEndian.Uint16(f[56:]); got != c || f[58] != h || f[59] != s {
			t.Errorf("%d bytes: %d/%d/%d, qemu-img says %d/%d/%d", size, c, h, s, got, f[58], f[59])
		}
	}
}

// GNU tar, which made the format, unpacks the image; Go's reader knows it too.
func TestGCEArchive(t *testing.T) {
	t.Parallel()
	need(t, "tar")
	img, raw := sample(t, 1024, 150) // more parts than the header holds
	path := written(t, "x.tar.gz", func(f *os.File) error { return WriteGCE(t.Context(), f, img, nil) })
	if list := run(t, "tar", "--numeric-owner", "--utc", "-tvzf", path); strings.Join(strings.Fields(list), " ") != "-rw-r--r-- 0/0 1073741824 2026-02-03 04:05 disk.raw" {
		t.Errorf("tar lists %q", list)
	}
	dir := t.TempDir()
	run(t, "tar", "-C", dir, "-xzSf", path)
	run(t, "cmp", filepath.Join(dir, "disk.raw"), raw)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(z)
	h, err := r.Next()
	if err != nil || h.Name != "disk.raw" || h.Size != 1<<30 || h.Format != tar.FormatGNU || !h.ModTime.Equal(img.Time) {
		t.Fatalf("%+v, %v", h, err)
	}
}

func TestOVADescribesItsDisk(t *testing.T) {
	t.Parallel()
	need(t, "tar")
	img, _ := sample(t, 40, 10)
	var disk bytes.Buffer
	if err := WriteVMDK(t.Context(), &disk, img, nil); err != nil {
		t.Fatal(err)
	}
	ovf, err := OVF(img, int64(disk.Len()))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(disk.Bytes())
	mf := OVAManifest(img, ovf, hex.EncodeToString(sum[:]))
	path := written(t, "x.ova", func(f *os.File) error {
		return WriteOVA(f, img.Time, File{"sample.ovf", int64(len(ovf)), bytes.NewReader(ovf)},
			File{"sample.mf", int64(len(mf)), bytes.NewReader(mf)}, File{"sample.vmdk", int64(disk.Len()), &disk})
	})
	dir := t.TempDir()
	run(t, "tar", "-C", dir, "-xf", path)
	if list := strings.Fields(run(t, "tar", "-tf", path)); strings.Join(list, " ") != "sample.ovf sample.mf sample.vmdk" {
		t.Errorf("order %q", list)
	}
	// The sums are in the form that OpenSSL prints.
	cmd := exec.Command("openssl", "dgst", "-sha256", "sample.ovf", "sample.vmdk")
	cmd.Dir = dir
	if out, err := cmd.Output(); err == nil && strings.ReplaceAll(string(out), "SHA2-256(", "SHA256(") != string(mf) {
		t.Errorf("openssl says %s, the manifest %s", out, mf)
	}
	checkOVF(t, filepath.Join(dir, "sample.ovf"), filepath.Join(dir, "sample.vmdk"), img)
}

func checkOVF(t *testing.T, ovf, vmdk string, img Image) {
	text, err := os.ReadFile(ovf)
	if err != nil {
		t.Fatal(err)
	}
	const ns = "http://schemas.dmtf.org/ovf/envelope/1"
	var e struct {
		XMLName xml.Name `xml:"http://schemas.dmtf.org/ovf/envelope/1 Envelope"`
		File    struct {
			ID   string `xml:"http://schemas.dmtf.org/ovf/envelope/1 id,attr"`
			Href string `xml:"http://schemas.dmtf.org/ovf/envelope/1 href,attr"`
			Size int64  `xml:"http://schemas.dmtf.org/ovf/envelope/1 size,attr"`
		} `xml:"References>File"`
		Disk struct {
			ID       string `xml:"http://schemas.dmtf.org/ovf/envelope/1 diskId,attr"`
			Ref      string `xml:"http://schemas.dmtf.org/ovf/envelope/1 fileRef,attr"`
			Capacity int64  `xml:"http://schemas.dmtf.org/ovf/envelope/1 capacity,attr"`
			Format   string `xml:"http://schemas.dmtf.org/ovf/envelope/1 format,attr"`
		} `xml:"DiskSection>Disk"`
		Version string `xml:"VirtualSystem>ProductSection>Version"`
		Items   []struct {
			ID, Type, Parent string
			InstanceID       string
			ResourceType     int
			HostResource     string
		} `xml:"VirtualSystem>VirtualHardwareSection>Item"`
	}
	if err := xml.Unmarshal(text, &e); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	info, err := os.Stat(vmdk)
	if err != nil {
		t.Fatal(err)
	}
	if e.XMLName.Space != ns || e.File.Href != "sample.vmdk" || e.File.Size != info.Size() || e.Disk.Ref != e.File.ID || e.Disk.Capacity != img.Size ||
		!strings.HasSuffix(e.Disk.Format, "#streamOptimized") || e.Version != img.Version {
		t.Errorf("%+v", e)
	}
	controller := ""
	for _, i := range e.Items {
		switch i.ResourceType {
		case 20:
			controller = i.InstanceID
		case 17:
			if i.Parent != controller || i.HostResource != "ovf:/disk/"+e.Disk.ID {
				t.Errorf("disk item %+v, controller %q", i, controller)
			}
		}
	}
	if controller == "" || len(e.Items) != 5 {
		t.Errorf("items %+v", e.Items)
	}
	if _, err := exec.LookPath("xmllint"); err == nil {
		run(t, "xmllint", "--noout", ovf)
	}
}

// Equal images give equal bytes in every format, whenever they are written.
func TestFormatsAreReproducible(t *testing.T) {
	t.Parallel()
	img, _ := sample(t, 20, 10)
	for name, write := range map[string]func(context.Context, io.Writer, Image, Progress) error{"zstd": WriteZstd, "vmdk": WriteVMDK} {
		var sums [2]string
		for i := range sums {
			h := sha256.New()
			if err := write(t.Context(), h, img, nil); err != nil {
				t.Fatal(err)
			}
			sums[i] = hex.EncodeToString(h.Sum(nil))
		}
		if sums[0] != sums[1] {
			t.Errorf("%s: %s and %s", name, sums[0], sums[1])
		}
	}
	if !bytes.Equal(Footer(img), Footer(img)) {
		t.Error("two footers of one image differ")
	}
}

func TestSizesThatAFormatCannotSay(t *testing.T) {
	t.Parallel()
	img, _ := sample(t, 1, 0)
	if err := WriteGCE(t.Context(), io.Discard, img, nil); err == nil {
		t.Error("Compute Engine's archive of 1 MiB was written")
	}
	img.Size -= 512
	if err := WriteVHD(t.Context(), nil, img, nil); err == nil {
		t.Error("a VHD of less than a MiB was written")
	}
	img.Size--
	if err := WriteVMDK(t.Context(), io.Discard, img, nil); err == nil {
		t.Error("a VMDK of half a sector was written")
	}
	img.Size = 2 << 20 // longer than the file
	if err := WriteZstd(t.Context(), io.Discard, img, nil); err == nil {
		t.Error("an image that ends early was written")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := WriteVMDK(ctx, io.Discard, Image{ReaderAt: img, Size: 1 << 20}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Numbers beyond the octal digits of a tar header are GNU's base 256.
func TestTarNumbers(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "00000000000\x00", 1<<33 - 1: "77777777777\x00", 1 << 33: "\x80\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00"} {
		got := make([]byte, 12)
		number(got, n)
		if string(got) != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
