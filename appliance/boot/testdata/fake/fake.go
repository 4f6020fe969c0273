// Package fake is a stand-in for the services of the appliance, for tests of
// its init. Words of the kernel's command line tell it how to behave:
//
//	fake.NAME=silent    is never ready
//	fake.NAME=ends      ends with status 0 after a second
//	fake.NAME=hangs     is ready, then never pings
//	fake.sysd=reboot    restarts the machine once it is ready
//	fake.sysd=reset     asks for a factory reset first
package fake

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"ringfence/internal/version"
)

// Run is the life of the service called name.
func Run(name string) {
	say := func(format string, args ...any) { fmt.Printf("level=WARN fake "+format+"\n", args...) }
	say("uid=%d gid=%d %s", os.Getuid(), os.Getgid(), status("CapEff", "CapBnd", "NoNewPrivs", "Groups"))
	var files, core unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &files)
	_ = unix.Getrlimit(unix.RLIMIT_CORE, &core)
	score, _ := os.ReadFile("/proc/self/oom_score_adj")
	host, _ := os.Hostname()
	say("files=%d core=%d oom=%s hostname=%s run=%v", files.Max, core.Max, strings.TrimSpace(string(score)), host, list("/run/ringfence"))
	boots, _ := os.ReadFile(filepath.Join("/perm", name, "boots"))
	err := os.WriteFile(filepath.Join("/perm", name, "boots"), append(boots, '.'), 0o600)
	say("boots=%d err=%v", len(boots)+1, err)
	switch name {
	case "fenced":
		text, err := os.ReadFile("/run/ringfence/network.json")
		say("network=%s err=%v", text, err)
	case "pbxd":
		text, err := os.ReadFile("/run/ringfence/seed.json")
		say("seed=%s err=%v", text, err)
		_, err = os.ReadDir("/perm/sysd")
		say("others=%v own-folder=%v", err, os.WriteFile("/run/ringfence/pbxd.sock", nil, 0o600))
		leaveOrphan()
	case "sysd":
		var st unix.Statfs_t
		_ = unix.Statfs("/perm", &st)
		entries := list("/run/esp/loader/entries")
		env, _ := os.ReadFile("/run/esp/grub/grubenv")
		say("perm-mib=%d entries=%v", st.Blocks*uint64(st.Bsize)>>20, entries)
		for line := range strings.Lines(string(env)) {
			if strings.Contains(line, "=") {
				say("grubenv %s", strings.TrimSpace(line))
			}
		}
		say("listening=%v", listening())
	}
	behave(name)
}

func behave(name string) {
	mode := ""
	cmdline, _ := os.ReadFile("/proc/cmdline")
	for _, word := range strings.Fields(string(cmdline)) {
		if v, ok := strings.CutPrefix(word, "fake."+name+"="); ok {
			mode = v
		}
	}
	// Through a boot loader the command line is fixed: the version says it.
	if mode == "silent" || name == "pbxd" && strings.HasPrefix(version.String(), "silent") {
		say := fmt.Sprintf("level=WARN fake %s stays silent", name)
		fmt.Println(say)
		time.Sleep(time.Hour)
	}
	if mode == "ends" {
		time.Sleep(time.Second)
		os.Exit(0)
	}
	_, _ = daemon.SdNotify(false, "READY=1\nSTATUS=faking it")
	if name == "pbxd" {
		console := `X_CONSOLE={"state":"setup","urls":["https://192.0.2.5:8887/setup"],"fingerprint":"` + strings.Repeat("ab", 32) + `","token":"abcdefghijklmnopqrstuvwxyz"}`
		if mode == "running" {
			console = `X_CONSOLE={"state":"running","urls":["https://192.0.2.5:8887/"],"fingerprint":"` + strings.Repeat("ab", 32) + `","extensions":4}`
		}
		_, _ = daemon.SdNotify(false, console)
	}
	if mode == "reboot" || mode == "reset" {
		time.Sleep(3 * time.Second)
		if mode == "reset" {
			_ = os.WriteFile("/perm/sysd/factory-reset", nil, 0o600)
		}
		_ = unix.Kill(1, unix.Signal(39))
	}
	stop := make(chan os.Signal, 1)
	notifyTerm(stop)
	for {
		if mode != "hangs" {
			_, _ = daemon.SdNotify(false, "WATCHDOG=1")
		}
		select {
		case <-time.After(2 * time.Second):
			if name == "pbxd" && mode == "running" {
				_, err := os.Stat("/run/ringfence/seed.json")
				fmt.Printf("level=WARN fake seed-gone=%v zombies=%d\n", os.IsNotExist(err), zombies())
				mode = ""
			}
		case <-stop:
			fmt.Printf("level=WARN fake %s terminated\n", name)
			os.Exit(0)
		}
	}
}

func status(names ...string) string {
	text, _ := os.ReadFile("/proc/self/status")
	var out []string
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); slices.Contains(names, name) {
			out = append(out, name+"="+strings.TrimSpace(value))
		}
	}
	return strings.Join(out, " ")
}

func list(dir string) (names []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// listening lists the sockets of the network that somebody listens on.
func listening() (all []string) {
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6", "raw", "raw6"} {
		text, _ := os.ReadFile("/proc/net/" + table)
		for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			if f := strings.Fields(line); i > 0 && len(f) > 1 {
				all = append(all, table+" "+f[1])
			}
		}
	}
	return all
}

// leaveOrphan starts a process that starts another and ends: PID 1 inherits it.
func leaveOrphan() {
	if len(os.Args) > 1 && os.Args[1] == "orphan" {
		return
	}
	_ = exec.Command(os.Args[0], "parent").Start()
}

// zombies counts dead processes that nobody took; /proc shows a service its
// own user's.
func zombies() (n int) {
	entries, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, e := range entries {
		text, _ := os.ReadFile(e)
		if _, rest, ok := strings.Cut(string(text), ") "); ok && strings.HasPrefix(rest, "Z 1 ") {
			n++
		}
	}
	return n
}

// Main starts Run, or plays one of its short-lived children.
func Main(name string) {
	if len(os.Args) == 2 {
		switch os.Args[1] {
		case "parent":
			_ = exec.Command(os.Args[0], "child").Start()
			return
		case "child":
			time.Sleep(100 * time.Millisecond)
			return
		}
	}
	Run(name)
}
