// Package deb makes the Debian package: the same programs as on the image, with
// systemd units in the place of our own init.
//
// The archive is written here, with nothing but the standard library; equal
// inputs give equal bytes. What goes where is a list in contents.go, and every
// file that is not a program lies in the folder files.
package deb
