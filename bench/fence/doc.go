// Package fence takes what a packet costs on its way through our packet filter,
// beside no rules and beside rules written by hand, in network namespaces.
package fence
