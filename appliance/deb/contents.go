package deb

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
)

//go:embed files
var embedded embed.FS

// programs says where each program goes.
func programs() map[string]string {
	return map[string]string{
		"ringfence/cmd/pbxd":      "usr/lib/ringfence/pbxd",
		"ringfence/cmd/fenced":    "usr/lib/ringfence/fenced",
		"ringfence/cmd/sysd":      "usr/lib/ringfence/sysd",
		"ringfence/cmd/ringfence": "usr/bin/ringfence",
	}
}

// Units are the names of the package's systemd units.
func Units() []string {
	entries, err := embedded.ReadDir("files/units")
	if err != nil {
		return nil // embedded: it is there, or the package does not build
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// fixed are the files that are the same in every version.
func fixed() ([]file, error) {
	places := map[string]file{
		"sysusers.conf": {path: "usr/lib/sysusers.d/ringfence.conf"},
		"tmpfiles.conf": {path: "usr/lib/tmpfiles.d/ringfence.conf"},
		"default":       {path: "etc/default/ringfence", conffile: true},
		"copyright":     {path: "usr/share/doc/ringfence/copyright"},
	}
	for _, unit := range Units() {
		places["units/"+unit] = file{path: "usr/lib/systemd/system/" + unit}
	}
	var list []file
	for from, f := range places {
		data, err := embedded.ReadFile("files/" + from)
		if err != nil {
			return nil, fmt.Errorf("collecting the files of the package: %w", err)
		}
		f.data, f.mode = data, 0o644
		list = append(list, f)
	}
	return list, nil
}

// scripts are the maintainer scripts, deb-postinst(5) and its kind.
func scripts() ([]file, error) {
	entries, err := fs.Glob(embedded, "files/scripts/*")
	if err != nil {
		return nil, err
	}
	var list []file
	for _, name := range entries {
		data, err := embedded.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("collecting the maintainer scripts: %w", err)
		}
		list = append(list, file{path: path.Base(name), mode: 0o755, data: data})
	}
	return list, nil
}
