// Package guard tells attackers from phones: it counts what sources of SIP do
// wrong and passes verdicts on them. It has no socket and no clock; the time is
// passed in, and somebody else carries the verdicts out.
//
// What can be forged convicts nobody who has proved a password: the source of a
// datagram is what its sender wrote there, so that otherwise anybody could have
// a trunk or an office banned. A wrong answer to a challenge is no forgery, if
// the nonce was made for that source.
package guard
