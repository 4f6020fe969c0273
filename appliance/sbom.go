package appliance

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ringfence/appliance/disk"
	"ringfence/appliance/kernel"
	"ringfence/appliance/rootfs"
)

// bom is a software bill of materials: CycloneDX 1.5, as JSON.
type bom struct {
	Format       string          `json:"bomFormat"`
	Spec         string          `json:"specVersion"`
	Serial       string          `json:"serialNumber"`
	Version      int             `json:"version"`
	Metadata     bomMetadata     `json:"metadata"`
	Components   []bomComponent  `json:"components"`
	Dependencies []bomDependency `json:"dependencies"`
}

type bomMetadata struct {
	Timestamp string       `json:"timestamp"`
	Component bomComponent `json:"component"`
}

type bomComponent struct {
	Type       string        `json:"type"`
	Ref        string        `json:"bom-ref"`
	Name       string        `json:"name"`
	Version    string        `json:"version,omitempty"`
	PURL       string        `json:"purl,omitempty"`
	Hashes     []bomHash     `json:"hashes,omitempty"`
	Properties []bomProperty `json:"properties,omitempty"`
}

type bomHash struct {
	Alg     string `json:"alg"`
	Content string `json:"content"`
}

type bomProperty struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type bomDependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// imagePackages are the Debian packages with files in the image, not those
// whose programs only made it.
func imagePackages() []string { return []string{"grub-pc-bin", "systemd-boot-efi"} }

// bill lists what an image consists of: our programs and what each is linked
// from, as the programs themselves say; the kernel; the loaders; the modules
// of the user interface.
func bill(m Manifest, web []bomComponent) bom {
	id := disk.DeriveGUID("sbom " + m.Version + " " + m.Commit + " " + m.Time.String())
	top := bomComponent{Type: "operating-system", Ref: "ringfence", Name: "ringfence", Version: m.Version}
	s := bom{
		Format: "CycloneDX", Spec: "1.5", Serial: "urn:uuid:" + id.String(), Version: 1,
		Metadata: bomMetadata{Timestamp: m.Time.UTC().Format("2006-01-02T15:04:05Z"), Component: top},
	}
	uses := map[string][]string{}
	add := func(user string, c bomComponent) {
		if _, known := uses[c.Ref]; !known {
			s.Components, uses[c.Ref] = append(s.Components, c), nil
		}
		uses[user] = append(uses[user], c.Ref)
	}
	for _, p := range m.Programs {
		program := bomComponent{Type: "application", Ref: p.Package, Name: p.Package, Version: m.Version, Hashes: []bomHash{{"SHA-256", p.SHA256}}}
		add(top.Ref, program)
		for _, c := range goComponents(p) {
			add(program.Ref, c)
		}
	}
	add(top.Ref, kernelComponent(m.Kernel))
	for _, name := range imagePackages() {
		purl := fmt.Sprintf("pkg:deb/debian/%s@%s", name, purlText(m.Packages[name]))
		add(top.Ref, bomComponent{Type: "library", Ref: purl, Name: name, Version: m.Packages[name], PURL: purl})
	}
	for _, c := range web {
		add("ringfence/cmd/pbxd", c)
	}
	slices.SortFunc(s.Components, func(a, b bomComponent) int { return cmp.Compare(a.Ref, b.Ref) })
	for ref, list := range uses {
		slices.Sort(list)
		s.Dependencies = append(s.Dependencies, bomDependency{ref, slices.Compact(list)})
	}
	slices.SortFunc(s.Dependencies, func(a, b bomDependency) int { return cmp.Compare(a.Ref, b.Ref) })
	return s
}

// goComponents are the standard library and the modules of a program. A
// module's sum is not that of a file, so it is a property and no hash.
func goComponents(p rootfs.Program) []bomComponent {
	version := strings.TrimPrefix(p.Go, "go")
	std := "pkg:golang/std@" + purlText(version)
	list := []bomComponent{{Type: "library", Ref: std, Name: "std", Version: version, PURL: std}}
	for _, m := range p.Modules {
		purl := "pkg:golang/" + m.Path + "@" + purlText(m.Version)
		c := bomComponent{Type: "library", Ref: purl, Name: m.Path, Version: m.Version, PURL: purl}
		if m.Sum != "" {
			c.Properties = []bomProperty{{"ringfence:go-sum", m.Sum}}
		}
		list = append(list, c)
	}
	return list
}

func kernelComponent(k kernel.Kernel) bomComponent {
	purl := fmt.Sprintf("pkg:deb/debian/%s@%s", k.Package, purlText(k.Version))
	if strings.Contains(k.Package, "/") { // a Go module, for a quick look
		purl = "pkg:golang/" + k.Package + "@" + purlText(k.Version)
	}
	return bomComponent{
		Type: "operating-system", Ref: purl, Name: "linux", Version: cmp.Or(k.Version, k.Release), PURL: purl, Hashes: []bomHash{{"SHA-256", k.SHA256}},
		Properties: []bomProperty{{"ringfence:release", k.Release}, {"ringfence:config-fragment-sha256", k.Fragment}},
	}
}

// purlText escapes what a version of Debian or Go can hold and a package URL
// cannot.
func purlText(s string) string { return strings.NewReplacer("%", "%25", "+", "%2B").Replace(s) }

// webComponents are the modules of npm that the user interface is built from:
// those of the lock file that are not for development only.
func webComponents(lock []byte) ([]bomComponent, error) {
	var file struct {
		Packages map[string]struct {
			Version   string
			Integrity string
			Dev       bool
		}
	}
	if err := json.Unmarshal(lock, &file); err != nil {
		return nil, fmt.Errorf("reading the user interface's lock file: %w", err)
	}
	var list []bomComponent
	for path, p := range file.Packages {
		at := strings.LastIndex(path, "node_modules/")
		if at < 0 || p.Dev {
			continue
		}
		name := path[at+len("node_modules/"):]
		purl := "pkg:npm/" + strings.Replace(name, "@", "%40", 1) + "@" + purlText(p.Version)
		c := bomComponent{Type: "library", Ref: purl, Name: name, Version: p.Version, PURL: purl}
		if sum, found := strings.CutPrefix(p.Integrity, "sha512-"); found {
			if raw, err := base64.StdEncoding.DecodeString(sum); err == nil {
				c.Hashes = []bomHash{{"SHA-512", hex.EncodeToString(raw)}}
			}
		}
		list = append(list, c)
	}
	return list, nil
}

// writeBill writes the bill of materials beside the image.
func (b *builder) writeBill() error {
	var web []bomComponent
	if slices.ContainsFunc(b.manifest.Programs, func(p rootfs.Program) bool { return p.HasWeb }) {
		lock, err := os.ReadFile(filepath.Join(b.Repo, "web/package-lock.json"))
		if err == nil {
			web, err = webComponents(lock)
		}
		if err != nil {
			return fmt.Errorf("writing the bill of materials: %w", err)
		}
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	if err := e.Encode(bill(b.manifest, web)); err != nil {
		return fmt.Errorf("writing the bill of materials: %w", err)
	}
	return os.WriteFile(b.path(SBOMFile), text.Bytes(), 0o644)
}
