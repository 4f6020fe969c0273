// Package interop has real phones call each other through a real pbxd, on
// hosts made of network namespaces.
package interop
