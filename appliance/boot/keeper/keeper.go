// Package keeper is the protocol of sysd's local socket, its server and its
// client: the few things about the machine itself that need root.
//
// One connection carries one request and one answer, each a line of JSON.
package keeper

import (
	"errors"
	"time"
)

// FileName is the socket in the run folder.
const FileName = "sysd.sock"

// Op names an operation.
type Op string

// The operations.
const (
	OpStatus       Op = "status"
	OpReboot       Op = "reboot"
	OpPowerOff     Op = "power-off"
	OpHostname     Op = "hostname"      // Hostname
	OpClock        Op = "clock"         // Time
	OpFactoryReset Op = "factory-reset" // and reboot
	// OpInstall puts a system into the slot that is not running. This version
	// answers it with ErrUnsupported.
	OpInstall Op = "install"
)

// Bounds of the protocol.
const (
	maxRequest  = 4 << 10  // bytes
	maxAnswer   = 64 << 10 // bytes
	maxClients  = 8
	callTimeout = 10 * time.Second
)

// ErrUnsupported says that this machine or this version cannot do it.
var ErrUnsupported = errors.New("not supported here")

// Request is what a client asks for.
type Request struct {
	Op       Op        `json:"op"`
	Hostname string    `json:"hostname,omitempty"`
	Time     time.Time `json:"time,omitzero"`
}

// Answer is what comes back; an empty Error means that it was done.
type Answer struct {
	Error  string  `json:"error,omitempty"`
	Status *Status `json:"status,omitempty"`
}

// Status is how the machine is.
type Status struct {
	Version   string    `json:"version"` // of sysd
	Hostname  string    `json:"hostname"`
	MachineID string    `json:"machine_id,omitempty"`
	Started   time.Time `json:"started,omitzero"`
	Healthy   bool      `json:"healthy"` // all services of this boot were ready
	Watchdog  string    `json:"watchdog,omitempty"`
	Seed      string    `json:"seed,omitempty"`
	Notices   []string  `json:"notices,omitempty"`
	// ResetPending says that the next boot wipes everything.
	ResetPending bool `json:"reset_pending,omitempty"`
	// Slots is nil on machines without.
	Slots *Slots `json:"slots,omitempty"`
}

// Slots are the two systems on the disk.
type Slots struct {
	Firmware  string `json:"firmware"` // BIOS or UEFI
	Running   string `json:"running"`
	Committed string `json:"committed"`
	Next      string `json:"next"` // boots next
	Trial     string `json:"trial,omitempty"`
	Tries     int    `json:"tries,omitempty"`
	VersionA  string `json:"version_a,omitempty"`
	VersionB  string `json:"version_b,omitempty"`
	// Undone is the version whose trial failed before this boot.
	Undone string `json:"undone,omitempty"`
}

// System does what is asked for.
type System interface {
	Status() (Status, error)
	Reboot() error
	PowerOff() error
	SetHostname(name string) error
	SetClock(t time.Time) error
	// FactoryReset makes the next boot wipe all data, and reboots.
	FactoryReset() error
}
