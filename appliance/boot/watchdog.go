package boot

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// watchdogTimeout is after how long without a ping the hardware restarts the
// machine; emulated machines can stand still for seconds.
const watchdogTimeout = 60 * time.Second

// wdiocSetTimeout is WDIOC_SETTIMEOUT, _IOWR('W', 6, int).
const wdiocSetTimeout = 0xc0045706

const softDog = "Software Watchdog"

// watchdog is an armed watchdog device.
type watchdog struct {
	f       *os.File
	name    string
	timeout time.Duration
}

// openWatchdog arms the first hardware watchdog, or the kernel's software one,
// which still notices a PID 1 that hangs. nil means that there is none.
func (p Paths) openWatchdog() *watchdog {
	var soft *watchdog
	for n := range 4 {
		w, err := armWatchdog(p.dev(fmt.Sprintf("watchdog%d", n)))
		switch {
		case err != nil:
			continue
		case w.name != softDog:
			if soft != nil {
				soft.disarm()
			}
			return w
		case soft == nil:
			soft = w
		}
	}
	return soft
}

func armWatchdog(path string) (*watchdog, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	w := &watchdog{f: f, timeout: watchdogTimeout}
	if info, err := unix.IoctlGetWatchdogInfo(int(f.Fd())); err == nil {
		w.name = strings.TrimRight(string(info.Identity[:]), "\x00")
	}
	_ = unix.IoctlSetPointerInt(int(f.Fd()), wdiocSetTimeout, int(watchdogTimeout.Seconds()))
	if s, err := unix.IoctlGetInt(int(f.Fd()), unix.WDIOC_GETTIMEOUT); err == nil && s > 0 {
		w.timeout = time.Duration(s) * time.Second
	}
	return w, nil
}

func (w *watchdog) ping() { _ = unix.IoctlWatchdogKeepalive(int(w.f.Fd())) }

// disarm closes the device in the way that stops it.
func (w *watchdog) disarm() {
	_, _ = w.f.Write([]byte("V"))
	_ = w.f.Close()
}

// keepAlive pings while the gate is open, for ever. The gate is asked each
// time; one that hangs is one that is closed.
func keepAlive(ping func(), every time.Duration, gate func() bool, stop <-chan struct{}) {
	for {
		if gate() {
			ping()
		}
		select {
		case <-time.After(every):
		case <-stop:
			return
		}
	}
}
