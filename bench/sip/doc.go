// Package sip measures signalling beside a peer in the same run: registrations
// and calls per second, what each costs in processor time and memory, and how
// soon a call rings. `make bench` runs it; docs/performance.md has the aims.
package sip
