package boot

import (
	"crypto/rand"
	"fmt"
	"math/bits"
	"os"
	"time"

	"golang.org/x/sys/unix"

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

// lifetime is how long after it was made this program believes that it runs.
const lifetime = 10 * 365 * 24 * time.Hour

// CheckClock refuses a time before this program was made, or long after it.
func CheckClock(t time.Time) error {
	if built := version.Built(); t.Before(built) || t.After(built.Add(lifetime)) {
		return fmt.Errorf("the time %s is not plausible", t.UTC().Format(time.RFC3339))
	}
	return nil
}

// slewClock leads the system's clock until it has moved by offset, by the
// kernel's phase-locked loop (RFC 5905 section 11.3), which also learns how
// fast the clock runs. pause is the time to the next answer. The kernel keeps
// the battery's clock from then on.
func slewClock(offset, distance, pause time.Duration) error {
	const most = 500 * time.Millisecond // what the kernel takes at once
	t := unix.Timex{
		Modes:  unix.ADJ_STATUS | unix.ADJ_NANO | unix.ADJ_OFFSET | unix.ADJ_TIMECONST | unix.ADJ_MAXERROR | unix.ADJ_ESTERROR,
		Status: unix.STA_PLL, Offset: int64(min(max(offset, -most), most)),
		Constant: int64(max(bits.Len64(uint64(pause/time.Second))-5, 0)), // a sixteenth of the pause, as a power of two
		Maxerror: distance.Microseconds(), Esterror: distance.Microseconds(),
	}
	if _, err := unix.Adjtimex(&t); err != nil {
		return fmt.Errorf("leading the clock: %w", err)
	}
	return nil
}

// SetClock sets the system's time, and the battery's clock where there is one.
func SetClock(t time.Time) error {
	tv := unix.NsecToTimeval(t.UnixNano())
	if err := unix.Settimeofday(&tv); err != nil {
		return fmt.Errorf("setting the time: %w", err)
	}
	f, err := os.OpenFile("/dev/rtc0", os.O_WRONLY, 0)
	if err != nil {
		return nil // many virtual machines have none
	}
	defer f.Close()
	u := t.UTC()
	rtc := unix.RTCTime{
		Sec: int32(u.Second()), Min: int32(u.Minute()), Hour: int32(u.Hour()),
		Mday: int32(u.Day()), Mon: int32(u.Month()) - 1, Year: int32(u.Year()) - 1900,
	}
	if err := unix.IoctlSetRTCTime(int(f.Fd()), &rtc); err != nil {
		return fmt.Errorf("setting the hardware clock: %w", err)
	}
	return nil
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
