// Package qemu boots what ships, the image, in QEMU, behind a tap in a network
// namespace of its own, and drives it from outside.
//
//	vm := qemu.Boot(t)                 // up, not set up
//	vm.Setup()                         // the wizard, through the API
//	a, b := vm.Phone("101"), vm.Phone("102")
//
// The image is built once per run of the tests, or taken from RINGFENCE_IMAGE.
package qemu
