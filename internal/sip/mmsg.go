package sip

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is how many datagrams one system call takes from a socket: all
// phones share one, and under load many are waiting there.
const batchSize = 8

// mmsghdr is the structure of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// oobSize holds the control messages of a datagram: where it was sent to.
const oobSize = 128

// batch is the room for what one recvmmsg(2) takes. Of the buffers only what
// datagrams really fill takes memory.
type batch struct {
	msgs  [batchSize]mmsghdr
	iovs  [batchSize]unix.Iovec
	names [batchSize]unix.RawSockaddrInet6 // has room for IPv4 too
	oobs  [batchSize][oobSize]byte
	bufs  [batchSize][maxDatagram]byte
}

func newBatch() *batch {
	b := new(batch)
	for i := range b.msgs {
		b.iovs[i].Base = &b.bufs[i][0]
		b.iovs[i].SetLen(maxDatagram)
		h := &b.msgs[i].hdr
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Control = &b.oobs[i][0]
	}
	return b
}

// receive takes what is there and does not wait. Less than a whole batch means
// that the socket is empty. The call is a raw one: it never blocks, so that the
// runtime need not be told of it, which costs more than the call.
func (b *batch) receive(fd uintptr) (int, error) {
	for i := range b.msgs {
		b.msgs[i].hdr.Namelen = unix.SizeofSockaddrInet6
		b.msgs[i].hdr.SetControllen(oobSize)
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.msgs[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// datagram is the i-th received.
func (b *batch) datagram(i int) (raw, oob []byte, src netip.AddrPort) {
	m := &b.msgs[i]
	return b.bufs[i][:m.n], b.oobs[i][:m.hdr.Controllen], addrPortOf(&b.names[i])
}

// addrPortOf reads a socket address of either family.
func addrPortOf(name *unix.RawSockaddrInet6) netip.AddrPort {
	if name.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), swapped(v4.Port))
	}
	a := netip.AddrFrom16(name.Addr).Unmap()
	if name.Scope_id != 0 && a.Is6() {
		a = a.WithZone(strconv.FormatUint(uint64(name.Scope_id), 10))
	}
	return netip.AddrPortFrom(a, swapped(name.Port))
}

// swapped turns a port between the order of the network and ours.
func swapped(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}

// sendmsg is the room for one sendmsg(2).
type sendmsg struct {
	hdr  unix.Msghdr
	iov  unix.Iovec
	name unix.RawSockaddrInet6
	oob  [oobSize]byte
	err  error
	try  func(fd uintptr) bool // send, bound once
}

func newSendmsg() any {
	o := new(sendmsg)
	o.hdr.Name = (*byte)(unsafe.Pointer(&o.name))
	o.hdr.Iov = &o.iov
	o.hdr.SetIovlen(1)
	o.try = o.send
	return o
}

var errFamily = errors.New("address of the other family")

// address sets where to send to, and from which of our addresses, if that is
// valid, and by which interface, if that is not 0: it needs no privilege
// (ip(7) IP_PKTINFO, RFC 3542 section 6.2).
func (o *sendmsg) address(to netip.AddrPort, from netip.Addr, device int, is4 bool) error {
	if to.Addr().Is4() != is4 {
		return errFamily
	}
	o.hdr.Control = nil
	o.hdr.SetControllen(0)
	if is4 {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&o.name))
		*v4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swapped(to.Port()), Addr: to.Addr().As4()}
		o.hdr.Namelen = unix.SizeofSockaddrInet4
		if from.IsValid() || device != 0 {
			info := (*unix.Inet4Pktinfo)(o.control(unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo))
			*info = unix.Inet4Pktinfo{Ifindex: int32(device)}
			if from.IsValid() {
				info.Spec_dst = from.As4()
			}
		}
		return nil
	}
	scope, _ := strconv.ParseUint(to.Addr().Zone(), 10, 32)
	o.name = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: swapped(to.Port()), Addr: to.Addr().As16(), Scope_id: uint32(scope)}
	o.hdr.Namelen = unix.SizeofSockaddrInet6
	if from.IsValid() || device != 0 {
		info := (*unix.Inet6Pktinfo)(o.control(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo))
		*info = unix.Inet6Pktinfo{Ifindex: uint32(device)}
		if from.IsValid() {
			info.Addr = from.As16()
		}
	}
	return nil
}

// control begins the one control message and returns where its data go.
func (o *sendmsg) control(level, kind int32, size int) unsafe.Pointer {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&o.oob[0]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(size))
	o.hdr.Control = &o.oob[0]
	o.hdr.SetControllen(unix.CmsgSpace(size))
	return unsafe.Pointer(&o.oob[unix.CmsgLen(0)])
}

// write sends one datagram, and waits while the socket's buffer is full.
func (o *sendmsg) write(raw syscall.RawConn, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	o.iov.Base = &b[0]
	o.iov.SetLen(len(b))
	err := raw.Write(o.try)
	o.iov.Base = nil
	if err != nil {
		return err
	}
	return o.err
}

// send is a raw call like receive.
func (o *sendmsg) send(fd uintptr) bool {
	o.err = nil
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&o.hdr)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch errno {
		case 0:
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			o.err = errno
			return true
		}
	}
}
