// Package media measures the relaying of calls beside a peer in the same run:
// how many two-way G.711 calls a core relays, plain and encrypted, what each
// costs, and what it costs to convert or record it. `make bench` runs it; docs/performance.md has the aims.
package media
