// Package debian is what sysd does on a Debian system, where the machine
// belongs to the distribution: it lays other packet filters to rest, moves sshd
// to the port of the table, and takes what cloud-init has fetched.
//
// Everything it changes is written down before, and Restore undoes it.
package debian
