// Package packer holds Packer templates that take the finished image to the
// clouds; its tests have Packer itself check them.
//
// The image is the same everywhere: nothing is built or changed in a cloud.
// Each template says in its first lines how to run it.
package packer
