package flash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"ringfence/appliance/disk"
)

// host is a machine's /sys, /proc and /dev in a folder.
type host struct {
	t    *testing.T
	root string
}

func (h host) put(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// drive makes a disk below a controller; attributes are name=value.
func (h host) drive(controller, name string, sectors int64, number string, attributes ...string) {
	h.t.Helper()
	dir := "sys/devices/" + controller + "/block/" + name
	h.put(dir+"/size", fmt.Sprintln(sectors))
	h.put(dir+"/dev", number+"\n")
	for _, a := range attributes {
		key, value, _ := strings.Cut(a, "=")
		h.put(dir+"/"+key, value+"\n")
	}
	if err := os.MkdirAll(filepath.Join(h.root, "sys/block"), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Symlink("../devices/"+controller+"/block/"+name, filepath.Join(h.root, "sys/block", name)); err != nil {
		h.t.Fatal(err)
	}
}

// desk is a workstation: the system on NVMe, data on LVM, swap, a stick with
// something mounted, an empty stick, small and odd disks, and what is no disk.
func desk(t *testing.T) Host {
	h := host{t, t.TempDir()}
	h.drive("pci0000:00/nvme/nvme0", "nvme0n1", 1<<30, "259:0", "device/model=Fast  SSD 1TB ", "queue/logical_block_size=512",
		"nvme0n1p1/partition=1", "nvme0n1p1/dev=259:1", "nvme0n1p2/partition=2", "nvme0n1p2/dev=259:2")
	h.drive("pci0000:00/ata1/host0", "sda", 1<<31, "8:0", "device/model=Big HDD", "device/vendor=ATA     ", "sda1/partition=1", "sda1/dev=8:1", "sda1/holders/dm-0=x")
	h.drive("pci0000:00/usb1/1-1/host6", "sdb", 16<<21, "8:16", "device/model=Stick\x1b[2J", "device/vendor=Acme", "removable=1", "sdb1/partition=1", "sdb1/dev=8:17")
	h.drive("pci0000:00/usb1/1-2/host7", "sdc", 32<<21, "8:32", "device/model=Free", "removable=1", "sdc1/partition=1", "sdc1/dev=8:33")
	h.drive("pci0000:00/usb1/1-3/host8", "sdd", 1<<21, "8:48", "device/model=Old", "removable=1")
	h.drive("pci0000:00/ata2/host1", "sde", 1<<30, "8:64", "device/model=Native", "queue/logical_block_size=4096")
	h.drive("pci0000:00/ata3/host2", "sdf", 1<<30, "8:80", "device/model=Locked", "ro=1")
	h.drive("pci0000:00/ata4/host3", "sdg", 1<<30, "8:96", "device/model=Swap", "sdg1/partition=1", "sdg1/dev=8:97")
	h.drive("pci0000:00/ata5/host4", "sdh", 1<<30, "8:112", "device/model=Btrfs", "sdh1/partition=1", "sdh1/dev=8:113")
	h.drive("pci0000:00/ata6/host5", "sr0", 1<<21, "11:0", "device/type=5")
	h.drive("virtual", "loop0", 1<<30, "7:0")
	h.drive("virtual", "dm-0", 1<<30, "254:0")
	h.drive("pci0000:00/usb1/1-4/host9", "sdi", 0, "8:128", "device/model=Empty card reader")
	h.put("proc/self/mountinfo", `22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
23 22 259:1 / /boot/efi rw shared:2 - vfat /dev/nvme0n1p1 rw
24 22 8:17 / /media/My\040Stick rw - vfat /dev/sdb1 rw
25 22 0:50 /@ /data rw - btrfs /dev/sdh1 rw
26 22 254:0 / /srv rw - ext4 /dev/mapper/vg-srv rw
27 22 0:5 / /proc rw - proc proc rw
rubbish
`)
	h.put("proc/swaps", "Filename Type Size Used Priority\n/dev/sdg1 partition 1 0 -2\n")
	return Host{h.root}
}

func TestDisksAndWhatSpeaksAgainstThem(t *testing.T) {
	t.Parallel()
	disks, err := desk(t).Disks()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range disks {
		why := "free"
		if err := d.Refusal(2 << 30); err != nil {
			why = err.Error()
		}
		got = append(got, fmt.Sprintf("%s %s %q %s: %s", d.Name, Bytes(d.Size), d.Model, d.Kind(), why))
	}
	want := []string{
		`nvme0n1 549.8 GB "Fast SSD 1TB" fixed: this system runs from it`,
		`sda 1.1 TB "Big HDD" fixed: part of dm-0`,
		`sdb 16 GiB "Acme Stick [2J" USB: mounted on /media/My Stick`,
		`sdc 32 GiB "Free" USB: free`,
		`sdd 1 GiB "Old" USB: too small: 2 GiB are needed`,
		`sde 549.8 GB "Native" fixed: sectors of 4096 bytes`,
		`sdf 549.8 GB "Locked" fixed: read-only`,
		`sdg 549.8 GB "Swap" fixed: swap`,
		`sdh 549.8 GB "Btrfs" fixed: mounted on /data`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Without knowing what is mounted, nothing is offered.
func TestDisksNeedsTheMounts(t *testing.T) {
	t.Parallel()
	h := desk(t)
	if err := os.Remove(h.path("proc/self/mountinfo")); err != nil {
		t.Fatal(err)
	}
	if disks, err := h.Disks(); err == nil {
		t.Errorf("%v", disks)
	}
}

// content is a small image with our partition table and random data.
func content(t *testing.T) []byte {
	t.Helper()
	const size = 13<<20 + 512
	data := make([]byte, size)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := 1 << 20; i < size-(1<<20); i += 7 {
		data[i] = byte(rnd.Uint32())
	}
	table := disk.Table{Disk: disk.DeriveGUID("flash"), Sectors: size / 512, Parts: []disk.Partition{
		{Number: disk.Perm, Type: disk.DeriveGUID("type"), ID: disk.DeriveGUID("id"), Name: disk.PermName, First: 2048, Last: 4095},
	}}
	w := &memory{data: data}
	if err := errors.Join(table.WriteProtectiveMBR(w, []byte("boot")), table.Write(w)); err != nil {
		t.Fatal(err)
	}
	return data
}

// memory is a disk that keeps the order of writes and can lie or fail.
type memory struct {
	data   []byte
	writes []int64
	fail   int64 // writes from here on fail; 0 is never
	lies   bool  // the byte at flip comes back changed, once forgotten
	flip   int64
	forgot bool
}

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	m.writes = append(m.writes, at)
	if m.fail > 0 && at >= m.fail {
		return 0, errors.New("medium error")
	}
	return copy(m.data[at:], p), nil
}

func (m *memory) ReadAt(p []byte, at int64) (int, error) {
	n := copy(p, m.data[at:])
	if m.lies && m.forgot && m.flip >= at && m.flip < at+int64(n) {
		p[m.flip-at] ^= 1
	}
	return n, nil
}

func (m *memory) Zero(at, n int64) error {
	_, err := m.WriteAt(make([]byte, n), at)
	return err
}

func (m *memory) Sync() error   { return nil }
func (m *memory) Forget() error { m.forgot = true; return nil }
func (m *memory) Close() error  { return nil }

func save(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func compress(t *testing.T, data []byte, sized bool) []byte {
	t.Helper()
	var b bytes.Buffer
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	if e.Reset(&b); sized {
		e.ResetContentSize(&b, int64(len(data)))
	}
	if _, err := e.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What is written is the image, from both forms, on a device file too; the
// table comes last, and no table of before survives at either end.
func TestWriteAndVerify(t *testing.T) {
	t.Parallel()
	data := content(t)
	for name, file := range map[string][]byte{"x.raw": data, "x.raw.zst": compress(t, data, true)} {
		img, err := OpenImage(save(t, name, file))
		if err != nil || img.Size != int64(len(data)) {
			t.Fatal(name, img.Size, err)
		}
		old := bytes.Repeat([]byte("old "), 6<<20)
		m := &memory{data: bytes.Clone(old)}
		var last int64
		sum, err := Write(t.Context(), m, int64(len(m.data)), img, func(done, total int64) {
			if done <= last || total != img.Size {
				t.Errorf("progress %d of %d after %d", done, total, last)
			}
			last = done
		})
		if err != nil || last != img.Size {
			t.Fatal(err, last)
		}
		if want := sha256.Sum256(data[:block]); len(sum) != 4 || sum[0] != want {
			t.Errorf("%d sums, the first %x", len(sum), sum[0])
		}
		if err := Verify(t.Context(), m, img.Size, sum, nil); err != nil || !m.forgot {
			t.Errorf("%v, forgot %t", err, m.forgot)
		}
		end := len(m.data) - 1<<20
		if !bytes.Equal(m.data[:len(data)], data) || !bytes.Equal(m.data[len(data):end], old[len(data):end]) || !bytes.Equal(m.data[end:], make([]byte, 1<<20)) {
			t.Errorf("%s: the disk is not image, rest of before, zeros", name)
		}
		if first, n := m.writes[0], len(m.writes); first != 0 || m.writes[n-1] != 0 {
			t.Errorf("order of writes %v", m.writes)
		}
		path := save(t, "device", old)
		d, err := OpenDevice(path)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if sum, err = Write(t.Context(), d, int64(len(old)), img, nil); err != nil {
			t.Fatal(err)
		}
		if err := Verify(t.Context(), d, img.Size, sum, Bar(io.Discard, "x")); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, m.data) {
			t.Errorf("file and memory differ, %v", err)
		}
	}
}

func TestDisksThatLieOrFailAreNoticed(t *testing.T) {
	t.Parallel()
	data := content(t)
	img, err := OpenImage(save(t, "x.raw", data))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, 5 << 20, img.Size - 1} {
		m := &memory{data: make([]byte, 16<<20), lies: true, flip: at}
		sum, err := Write(t.Context(), m, int64(len(m.data)), img, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify(t.Context(), m, img.Size, sum, nil); err == nil {
			t.Errorf("byte %d came back changed, and nobody noticed", at)
		}
	}
	m := &memory{data: bytes.Repeat([]byte{'o'}, 16<<20), fail: 8 << 20}
	if _, err := Write(t.Context(), m, int64(len(m.data)), img, nil); err == nil || !strings.Contains(err.Error(), "medium error") {
		t.Errorf("%v", err)
	}
	if _, err := Write(t.Context(), m, img.Size-1, img, nil); err == nil {
		t.Error("an image was written to a disk that is too small")
	}
	m = &memory{data: bytes.Repeat([]byte{'o'}, 16<<20)}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Write(ctx, m, int64(len(m.data)), img, func(int64, int64) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if !bytes.Equal(m.data[:block], make([]byte, block)) {
		t.Error("a disk that was cut off begins with something to boot")
	}
}

func TestFilesThatAreNoImage(t *testing.T) {
	t.Parallel()
	data := content(t)
	other := bytes.Clone(data)
	copy(other[1024+56:], "x\x00y\x00") // another name in the table: its sum is wrong
	for name, file := range map[string][]byte{
		"empty": nil, "short": []byte("QFI\xfb"), "zeros": make([]byte, 4<<20), "another table": other,
		"size unknown": compress(t, data, false), "zstd of text": compress(t, bytes.Repeat([]byte("text"), 1<<20), true),
	} {
		if _, err := OpenImage(save(t, "x", file)); err == nil {
			t.Errorf("%s was taken for an image", name)
		}
	}
	cut := compress(t, data, true)
	img, err := OpenImage(save(t, "cut", cut[:len(cut)-100]))
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{data: make([]byte, 16<<20)}
	if _, err := Write(t.Context(), m, int64(len(m.data)), img, nil); err == nil {
		t.Error("half an image was written as if it were whole")
	}
	if m.data[0] != 0 || m.data[512] != 0 {
		t.Error("half an image has a partition table")
	}
}

func TestCheckSums(t *testing.T) {
	t.Parallel()
	data := content(t)
	path := save(t, "x.raw", data)
	if err := CheckSums(t.Context(), path, nil); !errors.Is(err, ErrNoSums) {
		t.Errorf("without a list: %v", err)
	}
	sum := sha256.Sum256(data)
	line := hex.EncodeToString(sum[:])
	for text, good := range map[string]bool{line + "  x.raw\n": true, strings.Repeat("0", 64) + "  y\r\n" + line + "  x.raw\r\n": true, strings.Repeat("0", 64) + "  x.raw\n": false, line + "  y.raw\n": false} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), "SHA256SUMS"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := CheckSums(t.Context(), path, nil); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestBar(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	p := Bar(&b, "writing")
	for i := range int64(2001) {
		p(i, 2000)
	}
	lines := strings.Split(b.String(), "\r")
	if len(lines) != 102 || lines[51] != "[###############...............]  50 % writing" || lines[101] != "[##############################] 100 % writing\n" {
		t.Errorf("%d: %q", len(lines), lines)
	}
}
