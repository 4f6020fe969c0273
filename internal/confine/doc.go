// Package confine takes rights from the running process, for good: system
// calls, capabilities, and the copies of its memory.
package confine
