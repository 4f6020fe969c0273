package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ringfence/appliance"
)

func TestParseSize(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int64{
		"": 0, "4GiB": 4 << 30, "2048MiB": 2 << 30, "5000000000": 5_000_000_000,
		"4GB": -1, "-1": -1, "0": -1, "x": -1, "99999999999GiB": -1, "1.5GiB": -1,
	} {
		got, err := parseSize(in)
		if want < 0 != (err != nil) || (want >= 0 && got != want) {
			t.Errorf("%q: %d, %v", in, got, err)
		}
	}
}

func TestParseFormats(t *testing.T) {
	t.Parallel()
	got, err := parseFormats("raw,qcow2")
	if err != nil || !slices.Equal(got, []appliance.Format{appliance.Raw, appliance.QCOW2}) {
		t.Errorf("%v, %v", got, err)
	}
	if all, err := parseFormats("all"); err != nil || !slices.Equal(all, appliance.Formats()) {
		t.Errorf("all are %v, %v", all, err)
	}
	for _, bad := range []string{"", "raw,", "vdi", "all,raw"} {
		if _, err := parseFormats(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		nil, {"bake"}, {"build", "extra"}, {"build", "-format", "x"}, {"build", "-web", "x"}, {"build", "-size", "x"},
		{"kernel", "-kernel", "x"}, {"slot", "-firmware", "x"}, {"slot", "-slot", "c", "-image", "/dev/null"},
		{"state", "-image", filepath.Join(t.TempDir(), "none")}, {"build", "-o", t.TempDir(), "-size", "1MiB"},
		{"build", "-o", t.TempDir(), "-version", "has space"}, {"build", "-o", t.TempDir(), "-sign-key", "/dev/null"},
		{"build", "-o", t.TempDir(), "-format", "gce", "-size", "2049MiB"},
	} {
		var out bytes.Buffer
		if err := run(t.Context(), args, &out, newMeter(discard(t))); err == nil {
			t.Errorf("%q succeeded: %s", args, out.String())
		}
	}
}

func discard(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestMeterWithoutTerminal(t *testing.T) {
	t.Parallel()
	f := discard(t)
	m := newMeter(f)
	for i := range 1001 {
		m.progress("compiling", i, 1000)
	}
	m.progress("writing", 0, 1)
	m.progress("writing", 1, 1)
	m.notice("mind the gap")
	m.end()
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n != 13 || !strings.Contains(string(text), "100 %") || !strings.Contains(string(text), "NOTE: mind") {
		t.Errorf("%d lines:\n%s", n, text)
	}
}
