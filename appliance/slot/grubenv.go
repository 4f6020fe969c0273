package slot

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// grubenv is a file of exactly 1024 bytes: this line, then name=value lines,
// then '#' up to the end (GRUB manual, "Environment block").
const (
	grubEnvHeader = "# GRUB Environment Block\n"
	grubEnvSize   = 1024
	sectorSize    = 512
)

// EncodeGrubEnv returns the content of /grub/grubenv for a state. Everything
// that varies lies in the first sector, so that a write of the file changes
// one sector of the disk, which it does wholly or not at all.
func EncodeGrubEnv(s State) ([]byte, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(grubEnvHeader)
	fmt.Fprintf(&b, "committed=%s\ntrial=%s\ntries=%d\n", s.Committed, s.Trial, s.Tries)
	for _, n := range []Name{A, B} {
		fmt.Fprintf(&b, "root_%s=%s\nversion_%s=%s\n", n, s.Image(n).Root, n, s.Image(n).Version)
	}
	if b.Len() > sectorSize {
		return nil, fmt.Errorf("environment block needs %d bytes, more than one sector: %w", b.Len(), ErrBadState)
	}
	b.Write(bytes.Repeat([]byte("#"), grubEnvSize-b.Len()))
	return b.Bytes(), nil
}

// DecodeGrubEnv reads the content of /grub/grubenv. GRUB may have reordered
// the lines; variables it does not know are ignored.
func DecodeGrubEnv(data []byte) (State, error) {
	if len(data) != grubEnvSize || !bytes.HasPrefix(data, []byte(grubEnvHeader)) {
		return State{}, fmt.Errorf("%d bytes are not an environment block: %w", len(data), ErrBadState)
	}
	vars := make(map[string]string)
	for _, line := range strings.Split(string(data[len(grubEnvHeader):]), "\n") {
		if name, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			vars[name] = value
		}
	}
	tries := 0
	if v := vars["tries"]; v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			return State{}, fmt.Errorf("tries is %q: %w", v, ErrBadState)
		}
		tries = n
	}
	s := State{
		Committed: Name(vars["committed"]),
		Trial:     Name(vars["trial"]),
		Tries:     tries,
		A:         Image{Version: vars["version_a"], Root: vars["root_a"]},
		B:         Image{Version: vars["version_b"], Root: vars["root_b"]},
	}
	return s, s.Check()
}
