package deb

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// file is one file of the package, owned by root.
type file struct {
	path     string // without the leading slash
	mode     fs.FileMode
	data     []byte
	conffile bool // the administrator's changes outlive upgrades
}

// archive is a binary package, deb(5).
type archive struct {
	control string // the control file, without Installed-Size
	scripts []file // maintainer scripts
	files   []file
	time    time.Time
}

// write writes the package: an ar archive of the format's version, the control
// files and the files themselves.
func (a archive) write(w io.Writer) error {
	slices.SortFunc(a.files, func(x, y file) int { return cmp.Compare(x.path, y.path) })
	control, err := a.tarball(a.controlFiles())
	if err != nil {
		return fmt.Errorf("packing the control files: %w", err)
	}
	data, err := a.tarball(a.files)
	if err != nil {
		return fmt.Errorf("packing the files: %w", err)
	}
	if _, err := io.WriteString(w, "!<arch>\n"); err != nil {
		return err
	}
	for _, member := range []struct {
		name string
		data []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar.gz", control}, {"data.tar.gz", data}} {
		if err := a.member(w, member.name, member.data); err != nil {
			return fmt.Errorf("writing %s: %w", member.name, err)
		}
	}
	return nil
}

// member writes one member of an ar archive: name, time, owner, group, mode and
// size in columns, and data to an even length.
func (a archive) member(w io.Writer, name string, data []byte) error {
	if _, err := fmt.Fprintf(w, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", name, a.time.Unix(), 0, 0, 0o100644, len(data)); err != nil {
		return err
	}
	if len(data)%2 == 1 {
		data = append(slices.Clip(data), '\n')
	}
	_, err := w.Write(data)
	return err
}

// controlFiles are the members of control.tar.
func (a archive) controlFiles() []file {
	var sums, conffiles strings.Builder
	size := 0
	for _, f := range a.files {
		size += (len(f.data) + 1023) / 1024
		if f.conffile {
			fmt.Fprintf(&conffiles, "/%s\n", f.path)
			continue // dpkg keeps their sums itself
		}
		sum := md5.Sum(f.data) // what dpkg --verify knows; no protection
		fmt.Fprintf(&sums, "%s  %s\n", hex.EncodeToString(sum[:]), f.path)
	}
	list := []file{
		{path: "control", mode: 0o644, data: fmt.Appendf(nil, "%sInstalled-Size: %d\n", a.control, size)},
		{path: "md5sums", mode: 0o644, data: []byte(sums.String())},
		{path: "conffiles", mode: 0o644, data: []byte(conffiles.String())},
	}
	return append(list, a.scripts...)
}

// tarball packs files and the folders they are in.
func (a archive) tarball(files []file) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	t := tar.NewWriter(z)
	made := map[string]bool{}
	for _, f := range files {
		for _, dir := range folders(f.path) {
			if made[dir] {
				continue
			}
			made[dir] = true
			h := &tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: a.time, Uname: "root", Gname: "root", Format: tar.FormatGNU}
			if err := t.WriteHeader(h); err != nil {
				return nil, err
			}
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: "./" + f.path, Mode: int64(f.mode), Size: int64(len(f.data)), ModTime: a.time, Uname: "root", Gname: "root", Format: tar.FormatGNU}
		if err := t.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := t.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := t.Close(); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// folders are those that lead to a file, from the root down, as dpkg writes
// them.
func folders(name string) []string {
	list := []string{}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		list = append(list, "./"+dir+"/")
	}
	list = append(list, "./")
	slices.Reverse(list)
	return list
}
