package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

func TestVideoIsRelayed(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 23200, 23219, nil)
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	av, bv := newPeer(t, loopback, 0xa5), newPeer(t, loopback, 0xb5)
	both := func(p, v *peer) []byte {
		return p.sdp(fmt.Sprintf("m=video %d RTP/AVPF 96\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli", v.addr().Port()))
	}
	c := e.NewCall("video")
	la, lb := newLeg(t, c, loopback), newLeg(t, c, loopback)
	c.Bridge(la, lb) // before video exists
	must(t, la.SetRemote(both(a, av)))
	offer, err := lb.Offer(la)
	must(t, err)
	must(t, lb.SetRemote(both(b, bv)))
	answer, err := la.Answer(lb)
	must(t, err)
	videoPort := func(body []byte) netip.AddrPort {
		d, err := parseDescription(body)
		must(t, err)
		return d.stream(video).rtpAddr()
	}
	toA, toB := videoPort(answer), videoPort(offer)
	send := func(p *peer, to netip.AddrPort) {
		for range 5 {
			_, err := p.rtp.WriteToUDPAddrPort(p.packet(96), to)
			must(t, err)
		}
	}
	send(av, toA)
	send(bv, toB)
	a.send(la.RTP(), 5)
	eventually(t, "pictures go both ways", func() bool { return bv.heard(0xa5) == 5 && av.heard(0xb5) == 5 })
	bv.ask(toB, 0xa5)
	eventually(t, "the source is asked for a picture", func() bool { return av.asked() == 1 })
	eventually(t, "speech stays speech", func() bool { return b.heard(0xa) == 5 })
	if len(bv.got) != 1 || len(b.got) != 1 || len(a.got) != 0 {
		t.Errorf("streams are mixed up: %v %v %v", bv.got, b.got, a.got)
	}
	if q := la.Quality(); q.Packets != 5 || q.Codec != "PCMU" {
		t.Errorf("quality of the audio: %+v", q)
	}
}

// A peer may put its reports elsewhere (RFC 3605), at its own address only.
func TestReportsGoWhereThePeerWants(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 23220, 23239, nil)
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	br := newBridge(t, e, a, b)
	elsewhere := newPeer(t, loopback, 0xe)
	port := elsewhere.rtcp.LocalAddr().(*net.UDPAddr).Port
	must(t, br.a.SetRemote(a.sdp(fmt.Sprintf("a=rtcp:%d IN IP4 203.0.113.9", port))))
	elsewhere.ssrc = a.ssrc
	a.send(br.a.RTP(), 1)
	eventually(t, "b hears a", func() bool { return b.heard(0xa) == 1 })
	b.ask(br.b.RTP(), 0xa)
	eventually(t, "the report arrives", func() bool { return elsewhere.asked() == 1 })
	if a.asked() != 0 {
		t.Error("the report went to the old port")
	}
}

func TestMarking(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 23240, 23259, nil)
	c := e.NewCall("dscp")
	l := newLeg(t, c, loopback)
	must(t, l.SetRemote(sdpAt(netip.MustParseAddrPort("127.0.0.9:9000"), "m=video 9002 RTP/AVP 34")))
	other := newLeg(t, c, loopback)
	_, err := other.Offer(l)
	must(t, err)
	for k, want := range map[kind]int{audio: 0xb8, video: 0x88} {
		p := other.streams[k].Load().transport.pair
		for name, conn := range map[string]*net.UDPConn{"RTP": p.rtp, "RTCP": p.rtcp} {
			raw, err := conn.SyscallConn()
			must(t, err)
			must(t, raw.Control(func(fd uintptr) {
				got, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_TOS)
				if err != nil || got != want {
					t.Errorf("%s %s: traffic class %#x, want %#x: %v", k, name, got, want, err)
				}
			}))
		}
	}
}

func TestLossAndJitterAreMeasured(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 23260, 23279, nil)
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	br := newBridge(t, e, a, b)
	a.send(br.a.RTP(), 10)
	a.seq += 7
	a.send(br.a.RTP(), 10)
	eventually(t, "b hears a", func() bool { return b.heard(0xa) == 20 })
	if q := br.a.Quality(); q.LostRTP != 7 || q.Packets != 20 || q.JitterMs <= 0 || q.JitterMs > 200 {
		t.Errorf("%+v", q)
	}
	if q := br.b.Quality(); q.Packets != 0 || q.LostRTP != 0 || q.Codec != "" {
		t.Errorf("silent leg: %+v", q)
	}
}

func TestSilence(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 23280, 23299, nil)
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	c := e.NewCall("silence")
	la, lb := newLeg(t, c, loopback), newLeg(t, c, loopback)
	must(t, la.SetRemote(a.sdp()))
	_, err := lb.Offer(la)
	must(t, err)
	if !la.SilentSince().IsZero() || !lb.SilentSince().IsZero() {
		t.Error("before the answer somebody is expected to speak")
	}
	must(t, lb.SetRemote(b.sdp()))
	_, err = la.Answer(lb)
	must(t, err)
	early := la.SilentSince()
	time.Sleep(20 * time.Millisecond)
	_, err = la.Answer(lb) // 200 after 183
	must(t, err)
	answered := la.SilentSince()
	if early.IsZero() || !answered.After(early) {
		t.Errorf("silent since %s, after the answer since %s", early, answered)
	}
	a.send(la.RTP(), 1)
	eventually(t, "a was heard", func() bool { return la.SilentSince().After(answered) })
	heard := la.SilentSince()
	a.ask(la.RTP(), 0)
	eventually(t, "reports are signs of life", func() bool { return la.SilentSince().After(heard) })
	must(t, la.SetRemote(a.sdp("a=inactive")))
	if !la.SilentSince().IsZero() {
		t.Error("a holder is expected to speak")
	}
}

// New ranges serve new calls; old calls keep their ports.
func TestSetPools(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 23300, 23303, nil)
	c := e.NewCall("pools")
	old := newLeg(t, c, loopback)
	e.SetPools(map[ports.Side]ports.Service{ports.Core: {First: 23304, Last: 23307}})
	if p := newLeg(t, c, loopback).RTP().Port(); p < 23304 {
		t.Errorf("new leg at port %d", p)
	}
	if p := old.RTP().Port(); p > 23303 {
		t.Errorf("old leg at port %d", p)
	}
	for _, l := range []*Leg{old} {
		if err := l.SetRemote(sdpAt(l.RTP())); err == nil || !strings.Contains(err.Error(), "our own port") {
			t.Errorf("a port of the old range is not known as ours: %v", err)
		}
	}
	c.Close()
	e.Close()
	if n := e.NewCall("late"); n == nil {
		t.Error("no call")
	} else if _, err := n.NewLeg(t.Context(), LegParams{Side: ports.Core, Local: loopback}); err == nil {
		t.Error("a leg after Close")
	}
}

// A fax gateway turns a call into T.38 and back (RFC 3264 section 8: the audio
// is refused, its place stays).
func TestFaxIsRelayed(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 23260, 23279, nil)
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	af, bf := newPeer(t, loopback, 0), newPeer(t, loopback, 0)
	br := newBridge(t, e, a, b)
	image := func(p, f *peer) []byte {
		silent := strings.Replace(string(p.sdp()), fmt.Sprintf("m=audio %d", p.addr().Port()), "m=audio 0", 1)
		return []byte(silent + fmt.Sprintf("m=image %d udptl t38\r\na=T38FaxVersion:0\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n", f.addr().Port()))
	}
	reinvite := func(from, to *Leg, offer, answer []byte) (offered, answered []byte) {
		must(t, from.SetRemote(offer))
		offered, err := to.Offer(from)
		must(t, err)
		must(t, to.SetRemote(answer))
		answered, err = from.Answer(to)
		must(t, err)
		return offered, answered
	}
	offered, answered := reinvite(br.a, br.b, image(a, af), image(b, bf))
	at := func(body []byte) netip.AddrPort {
		d, err := parseDescription(body)
		must(t, err)
		if d.stream(audio) != nil || d.stream(fax) == nil || !strings.Contains(string(body), "a=T38FaxUdpEC:t38UDPRedundancy") || strings.Contains(string(body), "crypto") {
			t.Fatalf("no description of a fax:\n%s", body)
		}
		return d.stream(fax).rtpAddr()
	}
	send := func(p *peer, to netip.AddrPort, ssrc uint32) {
		for i := range 5 {
			page := make([]byte, 60)
			page[1] = byte(i)
			binary.BigEndian.PutUint32(page[8:], ssrc) // where the test phone looks
			_, err := p.rtp.WriteToUDPAddrPort(page, to)
			must(t, err)
		}
	}
	send(af, at(answered), 0xfa)
	send(bf, at(offered), 0xfb)
	newAttacker(t, "127.0.0.67").send(at(offered), 20)
	eventually(t, "pages go both ways", func() bool { return bf.heard(0xfa) == 5 && af.heard(0xfb) == 5 })
	if len(af.got) != 1 || len(bf.got) != 1 || len(a.got) != 0 {
		t.Errorf("something else arrived: %v %v %v", af.got, bf.got, a.got)
	}
	if !br.a.SilentSince().IsZero() {
		t.Error("speech is expected during a fax")
	}

	back := func(p *peer) []byte { return []byte(string(p.sdp()) + "m=image 0 udptl t38\r\n") }
	reinvite(br.b, br.a, back(b), back(a))
	a.send(br.a.RTP(), 5)
	eventually(t, "speech goes again", func() bool { return b.heard(0xa) == 5 })

	l, err := br.call.NewLeg(t.Context(), LegParams{Side: ports.Core, Local: loopback, Security: telephony.SecurityRequire})
	must(t, err)
	if err := l.SetRemote(image(a, af)); !errors.Is(err, ErrInsecure) {
		t.Errorf("a fax where SRTP is required: %v", err)
	}
}

// Reports go on beside the media of a peer that holds.
func TestMuxedReportsGoOnDuringHold(t *testing.T) {
	t.Parallel()
	from := netip.MustParseAddrPort("192.0.2.1:4000")
	p := describedTransport(from)
	p.setMux(true)
	p.describe(&mediaLine{connection: from.Addr(), port: from.Port(), rtcpPort: from.Port() + 1, payloads: ownPayloads(), direction: direction{send: true}}, false, from.Addr(), "")
	if to := p.outRTCP.Load(); to == nil || *to != from || p.out.Load() != nil {
		t.Errorf("reports go to %v, media to %v", to, p.out.Load())
	}
}
