package boot

import (
	"strconv"
	"strings"
	"time"

	"ringfence/appliance/slot"
)

// DefaultHealthTimeout is how long a boot may take to become healthy.
const DefaultHealthTimeout = 90 * time.Second

// CommandLine is what the kernel's command line says to init. Its words come
// from the boot loader, which no one can edit without opening the machine.
type CommandLine struct {
	// Slot is the running slot ("ringfence.slot="); empty when the machine was
	// started without a loader.
	Slot slot.Name
	// HealthTimeout ("ringfence.health-timeout=" in seconds, 5 to 3600) is for
	// tests and slow machines.
	HealthTimeout time.Duration
	// FactoryReset ("ringfence.factory-reset=1") wipes /perm.
	FactoryReset bool
	// Consoles are the terminals ("console="), as device names.
	Consoles []string
}

// ParseCommandLine reads /proc/cmdline. What cannot be understood keeps its
// default.
func ParseCommandLine(text string) CommandLine {
	c := CommandLine{HealthTimeout: DefaultHealthTimeout}
	c.Slot, _ = slot.Parse(text)
	for _, word := range strings.Fields(text) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "ringfence.health-timeout":
			if n, err := strconv.Atoi(value); err == nil && n >= 5 && n <= 3600 {
				c.HealthTimeout = time.Duration(n) * time.Second
			}
		case "ringfence.factory-reset":
			c.FactoryReset = value == "1"
		case "console":
			name, _, _ := strings.Cut(value, ",")
			if len(c.Consoles) < 4 && isDeviceName(name) {
				c.Consoles = append(c.Consoles, name)
			}
		}
	}
	return c
}

func isDeviceName(s string) bool {
	return s != "" && len(s) < 16 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}
