package version

import (
	"runtime/debug"
	"testing"
)

func TestFromSettings(t *testing.T) {
	t.Parallel()
	const rev = "0123456789abcdef0123456789abcdef01234567"
	for _, c := range []struct {
		settings []debug.BuildSetting
		want     string
	}{
		{nil, "dev"},
		{[]debug.BuildSetting{{Key: "vcs.revision", Value: "short"}}, "dev"},
		{[]debug.BuildSetting{{Key: "vcs.revision", Value: rev}}, "dev-0123456789ab"},
		{[]debug.BuildSetting{{Key: "vcs.modified", Value: "true"}, {Key: "vcs.revision", Value: rev}}, "dev-0123456789ab+changed"},
	} {
		if got := fromSettings(c.settings); got != c.want {
			t.Errorf("%v: %q, want %q", c.settings, got, c.want)
		}
	}
	if String() == "" {
		t.Error("no version at all")
	}
}
