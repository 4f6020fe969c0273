// Package bench takes the figures of what ships: how soon the image answers
// after power-on, how large it is, what memory it needs, whether it can be
// built again bit by bit. `make bench` runs it; docs/performance.md has the
// aims.
package bench
