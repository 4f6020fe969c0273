// Package slot reads and writes which of the two system slots boots next.
//
// # What a slot is
//
// The disk carries two complete systems, slot "a" and slot "b": a root
// partition each, and a kernel each on the EFI system partition (ESP) as
// /a/vmlinuz and /b/vmlinuz, each with its sum beside it. One slot is committed: it boots unless another is
// on trial. A slot on trial has a number of tries left; the boot loader, not
// the booted system, takes one away before every start of it, so that a kernel
// that panics before init and an init that never reports health both end back
// on the committed slot without anybody's help. Nothing takes a try from a
// committed slot.
//
// # Where it is written
//
// The image boots under two firmwares, and each loader keeps its own record on
// the ESP:
//
//	BIOS   GRUB         /grub/grubenv          variables committed, trial, tries,
//	                                           root_a, root_b, version_a, version_b
//	UEFI   systemd-boot /loader/entries/       ringfence-a.conf      no counter: never given up
//	                                           ringfence-b+3.conf    three tries left
//	                                           ringfence-b+2-1.conf  two left, one used
//	                                           ringfence-b+0-3.conf  given up, sorted last
//
// systemd-boot picks the entry with the highest "version" line among those
// with tries left; that line is a serial number which rises with each trial.
// GRUB follows the script of GrubConfig. [Store] reads the record of the
// firmware that is running, because only that loader counted, and brings the
// other record to the same state whenever it writes: a disk may move from one
// firmware to the other at any time.
//
// # How the parts of the system use it
//
//	updater  removes KernelSumPath of the idle slot, writes its root, its kernel and
//	         KernelSum, then Store.Try(name, tries, image)
//	loader   takes a try away and boots the slot on trial; with none left the committed one
//	init     all services healthy: Store.Commit(running). Unhealthy: reboot; nothing to
//	         write, the loader counts. Store.GiveUp(running) ends a trial early.
//	first boot  new partition GUIDs written to the GPT: Store.SetRoots(a, b)
//
// A State whose Trial is not empty and whose Tries is 0 says that the trial
// was given up (or is running its last try, which init can tell from the
// running slot). It stays as a record until the next Try or Commit of it.
//
// # Power cuts
//
// Every write leaves, at each instant, a record from which the loader boots a
// slot that works. grubenv is rewritten in place and everything that changes
// lies in its first 512 bytes, one sector. A loader entry is first written
// under a name that is not an entry, then renamed, and the entry it replaces
// is removed last; a leftover that this may cause is harmless and removed by
// the next write.
package slot
