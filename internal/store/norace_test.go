//go:build !race

package store

// raceDetector says that SQLite runs some ten times slower than usual.
const raceDetector = false
