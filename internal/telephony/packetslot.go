package telephony

import "time"

// PacketSlot is what was counted of the network's packets within a step of time.
type PacketSlot struct {
	At   time.Time     // when it begins
	Step time.Duration // how long it is
	// Covered is how much of it somebody counted: nothing is no zero.
	Covered time.Duration
	// Counts are packets: "drop/CAUSE" and "port/ID". What is missing is zero.
	Counts map[string]uint64
}
