// Package drills holds the long tests of what ships: each scales with the
// share in RINGFENCE_DRILL, 1 for the whole drill, 0.05 in every test run.
package drills
