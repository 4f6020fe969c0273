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
// could repeat for ever. A kernel is compared with its sum before it is
// started, because a damaged one halts the machine without a panic; a kernel
// that cannot be started ends the trial of its slot, and the other slot starts
// instead. Shift held, or Escape hit, while the firmware hands over opens the
// menu. After a failed trial it opens by itself for three seconds, on the
// serial line too; else it must not listen there, because Debian's GRUB then
// waits three seconds each time. With superusers set and no password given,
// nobody edits an entry or gets GRUB's command line.
func GrubConfig() string {
	var b strings.Builder
	b.WriteString(`set superusers="nobody"
export superusers
if serial --unit=0 --speed=115200; then
	set line=serial
	terminal_output console serial
fi
set timeout_style=hidden
set timeout=0
set envfile=$prefix/grubenv
load_env --file $envfile committed trial tries root_a root_b version_a version_b
set slot=$committed
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
		if save_env --file $envfile tries; then set slot=$trial; fi
	else
		if [ -n "$line" ]; then terminal_input console serial; fi
		set timeout_style=menu
		set timeout=3
	fi
fi
set default=$slot
`)
	for _, n := range []Name{A, B} {
		fmt.Fprintf(&b, `function start_%[1]s {
	if [ -z "$version_%[1]s" ]; then return 1; fi
	set intact=yes
	if [ -f %[4]s ]; then
		if hashsum --hash crc32 --check %[4]s; then set intact=yes; else set intact=; fi
	fi
	if [ -n "$intact" ]; then
		if linux %[2]s %[3]s; then boot; fi
	fi
	if [ "$trial" = "%[1]s" ]; then
		set tries=0
		save_env --file $envfile tries
	fi
	return 1
}
`, n, n.KernelPath(), Cmdline(n, "$root_"+string(n)), n.KernelSumPath())
	}
	for _, n := range []Name{A, B} {
		fmt.Fprintf(&b, `if [ -n "$version_%[1]s" ]; then
	menuentry "Ringfence $version_%[1]s (slot %[1]s)" --id %[1]s --unrestricted {
		start_%[1]s
		start_%[2]s
		echo "No kernel can be started. Trying again in a minute."
		sleep 60
		reboot
	}
fi
`, n, n.Other())
	}
	return b.String()
}
