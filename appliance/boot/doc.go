// Package boot is the work of PID 1 on the appliance: it mounts, prepares the
// disk, reads first-boot data, starts and supervises the three services, judges
// whether the boot is healthy, and ends the machine in order.
//
// The order of a boot, and why:
//
//  1. /dev, /proc, /sys, /run, /tmp; the hardware watchdog is opened, so that
//     from here on a hang ends in a restart.
//  2. /perm is mounted (ext4 replays its journal), a pending factory reset
//     carried out, the folders of the services made.
//  3. First-boot data is read from a seed disk. Without one, in a cloud,
//     fenced is started already, for the network, and the metadata service is
//     asked, within bounds. Identity, hostname.
//  4. fenced, sysd and pbxd are started. No interface is up yet: fenced brings
//     them up, and loads its packet filter before.
//  5. All three are ready: the boot is healthy and the slot is committed. If
//     that takes too long on a slot on trial, the trial is given up and the
//     machine restarts into the other one. A committed slot is kept trying:
//     there is nothing better to go back to, and restarts would not help.
//
// Meanwhile, once the file system is there, the partition table and /perm grow
// to the size of the disk and get identifiers of their own.
//
// A machine that was started from a stick with a fresh image has none of this:
// it asks which disk to install on, and restarts (package install).
//
// Nothing here listens on the network, reads from a terminal but for that
// dialog, or executes anything but the three programs of the read-only root.
package boot
