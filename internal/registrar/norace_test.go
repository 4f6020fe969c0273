//go:build !race

package registrar

// allocSlack is for the growth of maps.
const allocSlack = 1
