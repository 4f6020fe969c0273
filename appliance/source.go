package appliance

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// source is the state of the checkout an image is built from.
type source struct {
	commit  string
	changed bool
	time    time.Time
	version string
}

// fallbackTime stands in every file when there is no commit to take it from.
const fallbackTime = 1_767_225_600 // 2026-01-01T00:00:00Z

// readSource asks git. The time is SOURCE_DATE_EPOCH when set, else that of
// the commit; a folder without git has a fixed one.
func readSource(ctx context.Context, repo string) source {
	git := func(args ...string) string {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", repo}, args...)...).Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	s := source{time: time.Unix(fallbackTime, 0).UTC(), version: "dev"}
	if s.commit = git("rev-parse", "HEAD"); s.commit != "" {
		s.changed = git("status", "--porcelain", "--untracked-files=no") != ""
		s.version = "dev-" + s.commit[:12]
		if tag := git("describe", "--tags", "--exact-match", "--match", "v[0-9]*"); tag != "" {
			s.version = strings.TrimPrefix(tag, "v")
		}
		if s.changed {
			s.version += "+changed"
		}
		if at, err := strconv.ParseInt(git("log", "-1", "--format=%ct"), 10, 64); err == nil {
			s.time = time.Unix(at, 0).UTC()
		}
	}
	if at, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil && at > 0 {
		s.time = time.Unix(at, 0).UTC()
	}
	return s
}

// Source names the version and the time of the checkout in a folder, for what
// is built from it besides the image.
func Source(ctx context.Context, repo string) (version string, at time.Time) {
	s := readSource(ctx, repo)
	return s.version, s.time
}
