package slot

import (
	"fmt"
	"strings"
)

// GrubConfig returns /grub/grub.cfg. The script is the same on every disk and
// never rewritten: what varies is in grubenv.
//
// It takes a try away and saves that before it boots the slot on trial; when
// saving fails it boots the committed slot, because a try that is not counted
// could repeat for ever. An entry that cannot even be loaded falls through to
// the other slot. Escape, hit while the firmware hands over, opens the menu,
// on the screen as well as on the serial line; with superusers set and no
// password given, nobody edits an entry or gets GRUB's command line.
func GrubConfig() string {
	var b strings.Builder
	b.WriteString(`set superusers="nobody"
export superusers
if serial --unit=0 --speed=115200; then
	terminal_input console serial
	terminal_output console serial
fi
set envfile=$prefix/grubenv
load_env --file $envfile committed trial tries root_a root_b version_a version_b
set slot=$committed
set other=b
if [ "$slot" = "b" ]; then set other=a; fi
if [ -n "$trial" ]; then
`)
	for n := MaxTries; n >= 1; n-- {
		word := "elif"
		if n == MaxTries {
			word = "if"
		}
		fmt.Fprintf(&b, "\t%s [ \"$tries\" = \"%d\" ]; then set left=%d\n", word, n, n-1)
	}
	b.WriteString(`	fi
	if [ -n "$left" ]; then
		set tries=$left
		if save_env --file $envfile tries; then
			set slot=$trial
			set other=$committed
		fi
	fi
fi
set default=$slot
set fallback=$other
set timeout_style=hidden
set timeout=0
`)
	for _, n := range []Name{A, B} {
		fmt.Fprintf(&b, `if [ -n "$version_%[1]s" ]; then
	menuentry "Ringfence $version_%[1]s (slot %[1]s)" --id %[1]s --unrestricted {
		linux %[2]s %[3]s
	}
fi
`, n, n.KernelPath(), Cmdline(n, "$root_"+string(n)))
	}
	return b.String()
}
