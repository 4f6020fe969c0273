package appliance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// tools runs the programs that make file systems, in an environment that gives
// the same bytes on every machine and at every time.
type tools struct {
	home string // scratch folder, instead of the user's settings
	time time.Time
}

// packageOf tells a person what to install.
func packageOf(tool string) string {
	switch tool {
	case "mkfs.vfat":
		return "dosfstools"
	case "mmd", "mcopy", "mdel", "mdir":
		return "mtools"
	case "mke2fs":
		return "e2fsprogs"
	case "qemu-img":
		return "qemu-utils"
	}
	return tool
}

func (t tools) run(ctx context.Context, extraEnv []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	at := strconv.FormatInt(t.time.Unix(), 10)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "HOME=" + t.home, "LC_ALL=C", "TZ=UTC",
		"SOURCE_DATE_EPOCH=" + at, "E2FSPROGS_FAKE_TIME=" + at,
		// The file system begins inside a bigger file.
		"MTOOLS_SKIP_CHECK=1", "MTOOLSRC=" + os.DevNull,
	}, extraEnv...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%s is not installed (package %s): run `make deps`", name, packageOf(name))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", name, err, lastBytes(append(out, complaints.Bytes()...), 1024))
	}
	return out, nil
}

func lastBytes(out []byte, n int) string {
	return strings.TrimSpace(string(out[max(0, len(out)-n):]))
}
