// Package debian installs the Debian package on a Debian system with real
// systemd, D-Bus, logind, sshd and ufw, and drives it from outside: a container
// of systemd-nspawn in network namespaces of its own, or, in minutes instead of
// seconds, a machine of QEMU with Debian's own kernel and cloud-init.
package debian
