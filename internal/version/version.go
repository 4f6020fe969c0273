// Package version tells which build of Ringfence a program is.
package version

import (
	"runtime/debug"
	"strconv"
	"time"
)

// number is set by the linker when an image is built:
// -X ringfence/internal/version.number=1.2.3
var number string

// String returns the version, such as "1.2.3"; for a program that was built
// without the image builder the commit it came from, or "dev".
func String() string {
	if number != "" {
		return number
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	return fromSettings(info.Settings)
}

func fromSettings(settings []debug.BuildSetting) string {
	revision, dirty := "", ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			revision = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changed"
		}
	}
	if revision == "" {
		return "dev"
	}
	return "dev-" + revision + dirty
}

// built is set by the linker when an image is built, in seconds since 1970:
// -X ringfence/internal/version.built=1767225600
var built string

// Built is a time before which this program did not exist: when the image was
// made, or else a fixed date.
func Built() time.Time {
	if s, err := strconv.ParseInt(built, 10, 64); err == nil {
		return time.Unix(s, 0)
	}
	return time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
}
