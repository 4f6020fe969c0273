//go:build race

package appliance

const raceDetector = true
