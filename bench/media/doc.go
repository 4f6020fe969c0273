// Package media measures the relaying of calls beside a peer in the same run:
// how many two-way G.711 calls a core relays, plain and encrypted, and what
// each costs. `make bench` runs it; docs/performance.md has the aims.
package media
