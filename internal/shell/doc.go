// Package shell serves the operator's commands over SSH: keys only, one
// restricted shell, nothing else of the protocol.
//
// What a stranger can reach before a log-in is the handshake of
// golang.org/x/crypto/ssh, bounded in number, time and size. What a log-in
// gives is the command table of package opcmd, run on behalf of that key;
// there is no program, file or network behind it.
package shell
