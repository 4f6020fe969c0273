// Package provision hands phones their configuration from random directories
// that nobody can guess.
package provision
