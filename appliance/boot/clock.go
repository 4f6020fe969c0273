package boot

import (
	"crypto/rand"
	"os"
	"syscall"
	"time"

	"ringfence/internal/version"
)

// clockEvery is how often the time is written down.
const clockEvery = time.Hour

// fixClock moves the clock forward to the last time that is known, when it is
// behind: a machine without a battery must not begin in 1970, where no
// certificate is valid yet and bans last for ever.
func (p Paths) fixClock(set func(time.Time) error) (moved bool, err error) {
	last := version.Built()
	if info, err := os.Stat(p.Keeper(ClockFile)); err == nil && info.ModTime().After(last) {
		last = info.ModTime()
	}
	if !time.Now().Before(last) {
		return false, nil
	}
	return true, set(last)
}

// noteClock writes the time down.
func (p Paths) noteClock() error {
	f, err := os.OpenFile(p.Keeper(ClockFile), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_ = f.Close()
	now := time.Now()
	return os.Chtimes(p.Keeper(ClockFile), now, now)
}

func setClock(t time.Time) error {
	tv := syscall.NsecToTimeval(t.UnixNano())
	return syscall.Settimeofday(&tv)
}

const randomSeed = "random-seed"

// stirRandom gives the kernel what the last run left, and leaves something
// else for the next: never the same twice, even after a power cut.
func (p Paths) stirRandom() error {
	old, rerr := os.ReadFile(p.Keeper(randomSeed))
	fresh := make([]byte, 512)
	_, _ = rand.Read(fresh) // never fails
	if err := replaceFile(p.Keeper(randomSeed), fresh, 0o600, -1, -1); err != nil {
		return err
	}
	if rerr != nil || len(old) == 0 {
		return nil
	}
	return os.WriteFile(p.dev("urandom"), old[:min(len(old), 512)], 0)
}
