// Package pbx is the composition root of pbxd: it builds every part, wires
// them, reconciles them with the settings, and ends them in order. Only
// cmd/pbxd and test harnesses import it.
package pbx
