package boot

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Action is how a run of the machine ends.
type Action string

// The ends.
const (
	Reboot   Action = "reboot"
	PowerOff Action = "power off"
)

// Signals to PID 1 that end the machine: systemd's numbers (systemd(1),
// "SIGNALS"), so that sysd does the same under both.
const (
	SignalPowerOff = unix.Signal(34 + 4) // SIGRTMIN+4
	SignalReboot   = unix.Signal(34 + 5) // SIGRTMIN+5
)

const (
	evKey    = 1
	keyPower = 116
	// struct input_event on 64-bit Linux: a timeval, type, code, value.
	inputEvent = 24
)

// watchPowerButtons calls pressed each time a power button is pressed. It
// returns at once; the readers live as long as the machine.
func (p Paths) watchPowerButtons(pressed func()) {
	list, _ := filepath.Glob(p.sys("class/input/event*"))
	for _, dir := range list[:min(len(list), 32)] {
		keys, err := os.ReadFile(filepath.Join(dir, "device/capabilities/key"))
		if err != nil || !hasBit(string(keys), keyPower) {
			continue
		}
		f, err := os.Open(p.dev(filepath.Join("input", filepath.Base(dir))))
		if err != nil {
			continue
		}
		go func() {
			defer f.Close()
			readPowerButton(f, pressed)
		}()
	}
}

// hasBit reads a bitmap of sysfs: hexadecimal words of 64 bits, the last one
// first in value.
func hasBit(bitmap string, bit int) bool {
	words := strings.Fields(bitmap)
	i := len(words) - 1 - bit/64
	if i < 0 {
		return false
	}
	w, err := strconv.ParseUint(words[i], 16, 64)
	return err == nil && w&(1<<(bit%64)) != 0
}

func readPowerButton(r io.Reader, pressed func()) {
	var event [inputEvent]byte
	le := binary.LittleEndian
	for {
		if _, err := io.ReadFull(r, event[:]); err != nil {
			return
		}
		if le.Uint16(event[16:]) == evKey && le.Uint16(event[18:]) == keyPower && le.Uint32(event[20:]) == 1 {
			pressed()
		}
	}
}
