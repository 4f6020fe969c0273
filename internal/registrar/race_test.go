//go:build race

package registrar

// allocSlack: under the race detector pools lose what they hold at random.
const allocSlack = 6
