package slot

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	t.Parallel()
	if A.Other() != B || B.Other() != A || Name("c").Other() != "" || Name("").Valid() {
		t.Error("names are not what they should be")
	}
	for cmdline, want := range map[string]Name{
		"ro ringfence.slot=a":       A,
		"ringfence.slot=b\n":        B,
		"ringfence.slot=c":          "",
		"xringfence.slot=a":         "",
		"":                          "",
		Cmdline(B, "PARTUUID=1234"): B,
	} {
		got, err := Parse(cmdline)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("Parse(%q) = %q, %v", cmdline, got, err)
		}
	}
}

func TestRunningFirmware(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if got := RunningFirmware(root); got != BIOS {
		t.Errorf("without sys/firmware/efi: %s", got)
	}
	if err := os.MkdirAll(filepath.Join(root, "sys/firmware/efi"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := RunningFirmware(root); got != UEFI {
		t.Errorf("with sys/firmware/efi: %s", got)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	good := Factory("1.0")
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*State){
		"no slot committed":      func(s *State) { s.Committed = "" },
		"empty slot committed":   func(s *State) { s.Committed = B },
		"trial of the committed": func(s *State) { s.Trial, s.Tries = A, 1 },
		"trial of an empty slot": func(s *State) { s.Trial, s.Tries = B, 1 },
		"tries without a trial":  func(s *State) { s.Tries = 1 },
		"too many tries":         func(s *State) { s.B.Version = "2"; s.Trial, s.Tries = B, MaxTries+1 },
		"negative tries":         func(s *State) { s.B.Version = "2"; s.Trial, s.Tries = B, -1 },
		"space in version":       func(s *State) { s.A.Version = "1 0" },
		"line break in version":  func(s *State) { s.A.Version = "1\ntries=9" },
		"GRUB variable":          func(s *State) { s.A.Version = "$root" },
		"long version":           func(s *State) { s.A.Version = strings.Repeat("1", 41) },
		"no root":                func(s *State) { s.B.Root = "" },
		"root with parameters":   func(s *State) { s.A.Root = "PARTUUID=1 init=/bin/sh" },
	} {
		s := good
		change(&s)
		if err := s.Check(); !errors.Is(err, ErrBadState) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGrubEnv(t *testing.T) {
	t.Parallel()
	long := State{
		Committed: A, Trial: B, Tries: 9,
		A: Image{Version: strings.Repeat("a", 40), Root: "PARTUUID=01234567-89ab-cdef-0123-456789abcdef"},
		B: Image{Version: strings.Repeat("b", 40), Root: "PARTUUID=01234567-89ab-cdef-0123-456789abcdef"},
	}
	for _, want := range []State{Factory("1.0"), long} {
		data, err := EncodeGrubEnv(want)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) != 1024 || strings.Trim(string(data[512:]), "#") != "" {
			t.Errorf("%d bytes, second sector %q", len(data), data[512:])
		}
		got, err := DecodeGrubEnv(data)
		if err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

func TestGrubEnvAfterGRUB(t *testing.T) {
	t.Parallel()
	// GRUB's save_env keeps the order and rewrites the value in place.
	data := "# GRUB Environment Block\ncommitted=a\ntrial=b\ntries=2\nroot_a=PARTLABEL=x\nversion_a=1\nroot_b=PARTLABEL=y\nversion_b=2\nmenu=1\n"
	data += strings.Repeat("#", 1024-len(data))
	got, err := DecodeGrubEnv([]byte(data))
	want := State{Committed: A, Trial: B, Tries: 2, A: Image{"1", "PARTLABEL=x"}, B: Image{"2", "PARTLABEL=y"}}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", data[:1023], strings.Repeat("#", 1024), strings.Replace(data, "tries=2", "tries=x", 1)} {
		if _, err := DecodeGrubEnv([]byte(bad)); !errors.Is(err, ErrBadState) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
}

func TestEntryNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]entry{
		"ringfence-a.conf":     {slot: A, left: -1},
		"ringfence-b+3.conf":   {slot: B, left: 3},
		"ringfence-b+2-1.conf": {slot: B, left: 2, done: 1},
		"ringfence-b+0-3.conf": {slot: B, left: 0, done: 3},
	} {
		got, ok := parseEntryName(name)
		if !ok || got != want {
			t.Errorf("%s: %+v, %v", name, got, ok)
		}
		if got.name() != name {
			t.Errorf("%s comes back as %s", name, got.name())
		}
	}
	for _, name := range []string{"", "debian.conf", "ringfence-c.conf", "ringfence-a", "ringfence-a+.conf", "ringfence-a+x.conf", "ringfence-a+1-.conf", "ringfence-a+-1.conf", "ringfence-a+99999999.conf", "entry.new"} {
		if _, ok := parseEntryName(name); ok {
			t.Errorf("%q is taken for one of ours", name)
		}
	}
}

// TestGrubConfigIsQuick: with the serial line among the inputs Debian's GRUB
// waits three seconds for a key.
func TestGrubConfigIsQuick(t *testing.T) {
	t.Parallel()
	cfg := GrubConfig()
	if at := strings.Index(cfg, "terminal_input"); at < strings.Index(cfg, "else\n") || strings.Count(cfg, "terminal_input") != 1 {
		t.Error("the serial line is listened to without need")
	}
}

func TestGrubConfigCountsDown(t *testing.T) {
	t.Parallel()
	cfg := GrubConfig()
	for _, want := range []string{
		`"$tries" = "9" ]; then set left=8`,
		`"$tries" = "1" ]; then set left=0`,
		"save_env --file $envfile tries",
		"linux /a/vmlinuz root=$root_a ",
		"linux /b/vmlinuz root=$root_b ",
		"panic=10 oops=panic",
		"hashsum --hash crc32 --check /b/vmlinuz.crc32",
	} {
		if !strings.Contains(cfg, want) {
			t.Errorf("grub.cfg lacks %q", want)
		}
	}
	if strings.Contains(cfg, `"$tries" = "0"`) {
		t.Error("a slot without tries would be booted")
	}
	if got, want := string(B.KernelSum([]byte("123456789"))), "cbf43926  /b/vmlinuz\n"; got != want {
		t.Errorf("sum file is %q", got)
	}
}
