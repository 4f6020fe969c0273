package kernel

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestUnmet(t *testing.T) {
	t.Parallel()
	const fragment = "# a comment\nCONFIG_A=y\nCONFIG_B=\"x y\"\nCONFIG_NR=64\n# CONFIG_OFF is not set\n# CONFIG_GONE is not set\n\n"
	for name, c := range map[string]struct {
		config string
		want   []string
	}{
		"all hold":       {"CONFIG_A=y\nCONFIG_B=\"x y\"\nCONFIG_NR=64\n# CONFIG_OFF is not set\nCONFIG_C=y\n", nil},
		"module":         {"CONFIG_A=m\nCONFIG_B=\"x y\"\nCONFIG_NR=64\n", []string{"CONFIG_A=y"}},
		"other value":    {"CONFIG_A=y\nCONFIG_B=\"x y\"\nCONFIG_NR=641\n", []string{"CONFIG_NR=64"}},
		"switched on":    {"CONFIG_A=y\nCONFIG_B=\"x y\"\nCONFIG_NR=64\nCONFIG_OFF=y\n", []string{"# CONFIG_OFF is not set"}},
		"prefix matters": {"CONFIG_AA=y\nCONFIG_B=\"x y\"\nCONFIG_NR=64\n", []string{"CONFIG_A=y"}},
		"empty":          {"", []string{"CONFIG_A=y", "CONFIG_B=\"x y\"", "CONFIG_NR=64"}},
	} {
		if got := Unmet(fragment, c.config); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestFragment keeps what other parts count on from being dropped unnoticed.
func TestFragment(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"CONFIG_EFI_STUB=y", "CONFIG_SQUASHFS_ZSTD=y", "CONFIG_EXT4_FS=y", "CONFIG_VFAT_FS=y", "CONFIG_ISO9660_FS=y",
		"CONFIG_NF_TABLES_INET=y", "CONFIG_NFT_CT=y", "CONFIG_VLAN_8021Q=y", "CONFIG_VIRTIO_BLK=y", "CONFIG_BLK_DEV_NVME=y",
		"CONFIG_SECURITY_LANDLOCK=y", "CONFIG_SECCOMP_FILTER=y", "CONFIG_PANIC_ON_OOPS=y", "CONFIG_DM_VERITY=y",
		"# CONFIG_MODULES is not set", "# CONFIG_KEXEC is not set", "# CONFIG_DEVMEM is not set", "# CONFIG_IO_URING is not set",
	} {
		if !slices.Contains(strings.Split(Fragment(), "\n"), line) {
			t.Errorf("the fragment lacks %q", line)
		}
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	base := Key("6.12.1-1", "CONFIG_A=y\n")
	if base != Key("6.12.1-1", "CONFIG_A=y\n") {
		t.Error("equal inputs have different keys")
	}
	if base == Key("6.12.2-1", "CONFIG_A=y\n") || base == Key("6.12.1-1", "CONFIG_B=y\n") {
		t.Error("different inputs have the same key")
	}
}

func TestCacheNoticesDamage(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "k")
	if _, err := load(dir); err == nil {
		t.Error("a kernel came from nowhere")
	}
	want := Kernel{Key: "k", Release: "1", SHA256: sum([]byte("kernel"))}
	if err := store(dir, want, map[string][]byte{"vmlinuz": []byte("kernel")}); err != nil {
		t.Fatal(err)
	}
	got, err := load(dir)
	if err != nil || got.Release != "1" || got.Path != filepath.Join(dir, "vmlinuz") {
		t.Errorf("%+v, %v", got, err)
	}
	if err := os.WriteFile(got.Path, []byte("kernes"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := load(dir); err == nil {
		t.Error("a changed kernel was taken for good")
	}
}

func TestAdoptRefusesOtherConfiguration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".config"), []byte("CONFIG_64BIT=y\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := adopt(t.Context(), tree{dir: dir}, Kernel{}, t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "CONFIG_EXT4_FS=y") {
		t.Errorf("got %v", err)
	}
}

func TestRunTellsWhatFailed(t *testing.T) {
	t.Parallel()
	var lines []string
	err := tree{dir: t.TempDir()}.run(t.Context(), func(l string) { lines = append(lines, l) }, "sh", "-c", "echo one; echo $KBUILD_BUILD_USER; exit 3")
	if err == nil || !strings.Contains(err.Error(), "one") {
		t.Errorf("got %v", err)
	}
	if !slices.Equal(lines, []string{"one", "ringfence"}) {
		t.Errorf("lines are %q", lines)
	}
}

func TestLockWaits(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path, func() { t.Error("had to wait for nobody") })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	waited := false
	if _, err := lock(ctx, path, func() { waited = true }); err == nil || !waited {
		t.Errorf("second lock: %v, waited %v", err, waited)
	}
	unlock()
	again, err := lock(t.Context(), path, func() {})
	if err != nil {
		t.Fatal(err)
	}
	again()
}
