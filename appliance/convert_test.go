package appliance

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func testKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
}

// checkFormats lets other programs unpack every format: each holds the raw
// image, byte for byte.
func checkFormats(t *testing.T, r Result) {
	dir := filepath.Dir(r.Raw)
	for _, f := range Formats() {
		for _, name := range f.Files() {
			if r.SHA256[name] == "" {
				t.Errorf("%s has no sum", name)
			}
		}
	}
	for format, file := range map[string]string{"qcow2": "ringfence.qcow2", "vmdk": "ringfence.vmdk", "vpc": "ringfence.vhd"} {
		tool(t, dir, "qemu-img", "compare", "-f", "raw", "-F", format, "ringfence.raw", file)
		if format != "vpc" { // which qemu-img cannot check
			tool(t, dir, "qemu-img", "check", "-f", format, file)
		}
	}
	for _, script := range []string{
		"zstd -dc ringfence.raw.zst | cmp - ringfence.raw",
		"tar -xzOf ringfence.gce.tar.gz disk.raw | cmp - ringfence.raw",
		"head -c -512 ringfence.vhd | cmp - ringfence.raw",
		"tar -xOf ringfence.ova ringfence.vmdk | cmp - ringfence.vmdk",
		"tar -xOf ringfence.ova ringfence.ovf | cmp - ringfence.ovf",
		"tar -xOf ringfence.ova ringfence.mf | cmp - ringfence.mf",
		`tr -d '() =' < ringfence.mf | sed -E 's/SHA256(ringfence\.[a-z]+)([0-9a-f]{64})/\2  \1/' | sha256sum -c -`,
	} {
		tool(t, dir, "bash", "-o", "pipefail", "-ec", script)
	}
}

func tool(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed (make deps)", name)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s %q: %v\n%s", name, args, err, out)
	}
}

// checkSignature asks OpenSSL, and wants it to refuse sums that were changed.
func checkSignature(t *testing.T, r Result) {
	dir := t.TempDir()
	der, err := x509.MarshalPKIXPublicKey(testKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	public := filepath.Join(dir, "public.pem")
	if err := os.WriteFile(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(filepath.Dir(r.Raw), SumsFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	for text, good := range map[string]bool{string(sums): true, strings.Replace(string(sums), "a", "b", 1): false} {
		path := filepath.Join(dir, "sums")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", path,
			"-sigfile", filepath.Join(filepath.Dir(r.Raw), SignatureFile)).CombinedOutput()
		if (err == nil) != good {
			t.Errorf("good %t: %v\n%s", good, err, out)
		}
	}
}

// checkBill compares the bill with what Go says of the programs, the kernel's
// package and the packages of the loaders.
func checkBill(t *testing.T, r Result) {
	text, err := os.ReadFile(filepath.Join(filepath.Dir(r.Raw), SBOMFile))
	if err != nil {
		t.Fatal(err)
	}
	var s bom
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	if s.Format != "CycloneDX" || s.Spec != "1.5" || !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(s.Serial) ||
		s.Metadata.Component.Version != "healthy-1" || !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`).MatchString(s.Metadata.Timestamp) {
		t.Errorf("head: %+v", s)
	}
	known := map[string]bool{s.Metadata.Component.Ref: true}
	for _, c := range s.Components {
		if known[c.Ref] || c.Name == "" || c.Version == "" {
			t.Errorf("component %+v", c)
		}
		known[c.Ref] = true
	}
	for _, d := range s.Dependencies {
		for _, ref := range append(d.DependsOn, d.Ref) {
			if !known[ref] {
				t.Errorf("%s depends on %s, which is no component", d.Ref, ref)
			}
		}
	}
	manifest := readManifest(t, r)
	want := []string{testInit, "pkg:deb/debian/linux-source-6.12@" + manifest.Kernel.Version}
	for _, name := range imagePackages() {
		want = append(want, "pkg:deb/debian/"+name+"@"+purlText(manifest.Packages[name]))
	}
	for _, m := range manifest.Programs[0].Modules {
		want = append(want, "pkg:golang/"+m.Path+"@"+purlText(m.Version))
	}
	for _, ref := range want {
		if !known[ref] {
			t.Errorf("no component %s", ref)
		}
	}
}

func readManifest(t *testing.T, r Result) (m Manifest) {
	t.Helper()
	text, err := os.ReadFile(r.Manifest)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWebComponents(t *testing.T) {
	t.Parallel()
	got, err := webComponents([]byte(`{"packages": {"": {"name": "x"}, "node_modules/react": {"version": "19.3.1", "integrity": "sha512-AAEC"},
		"node_modules/vite": {"version": "8.0.0", "dev": true}, "node_modules/a/node_modules/@b/c": {"version": "1.0.0+x"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b bomComponent) int { return strings.Compare(a.Ref, b.Ref) })
	if len(got) != 2 || got[0].PURL != "pkg:npm/%40b/c@1.0.0%2Bx" || got[0].Name != "@b/c" || got[1].PURL != "pkg:npm/react@19.3.1" || got[1].Hashes[0].Content != "000102" {
		t.Errorf("%+v", got)
	}
	if _, err := webComponents([]byte("{")); err == nil {
		t.Error("half a lock file was read")
	}
}

func TestReadSignKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	der, err := x509.MarshalPKCS8PrivateKey(testKey())
	if err != nil {
		t.Fatal(err)
	}
	good := file("good", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if key, err := ReadSignKey(good); err != nil || !key.Equal(testKey()) {
		t.Errorf("%v", err)
	}
	for name, text := range map[string][]byte{"empty": nil, "rubbish": []byte("x"), "public": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "cut": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der[:20]})} {
		if _, err := ReadSignKey(file(name, text)); err == nil {
			t.Errorf("%s was taken for a key", name)
		}
	}
	if _, err := exec.LookPath("openssl"); err == nil {
		for _, c := range []struct {
			algorithm string
			good      bool
		}{{"ed25519", true}, {"ed448", false}} {
			path := filepath.Join(dir, c.algorithm)
			tool(t, dir, "openssl", "genpkey", "-algorithm", c.algorithm, "-out", path)
			if _, err := ReadSignKey(path); (err == nil) != c.good {
				t.Errorf("%s: %v", c.algorithm, err)
			}
		}
	}
}

// A signature of other sums does not stay beside new ones.
func TestUnsignedBuildRemovesAnOldSignature(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	b := builder{Options: Options{Out: out, SignKey: testKey()}}
	if err := b.sign([]byte("sums")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(out, SignatureFile)
	if sig, err := os.ReadFile(path); err != nil || len(sig) != ed25519.SignatureSize {
		t.Fatal(len(sig), err)
	}
	b.SignKey = nil
	for range 2 {
		if err := b.sign([]byte("other sums")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old signature: %v", err)
	}
}
