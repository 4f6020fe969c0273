package tryout

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	cloudinit "ringfence/cloud-init"
	"ringfence/internal/ports"
)

// The seed of make run is one the guest accepts whole.
func TestSeedIsUnderstood(t *testing.T) {
	t.Parallel()
	for range 2 { // in a row, as somebody does who runs it again
		list, err := choose(Pick, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		seed, problems := cloudinit.Parse(cloudinit.Documents{UserData: []byte(userData(list)), MetaData: []byte("instance-id: tryout\n")})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		if seed.Answers == nil || !seed.Answers.AdvertiseAlways || !seed.Answers.PublicAddress.IsLoopback() {
			t.Fatalf("answers %+v", seed.Answers)
		}
		effective, err := ports.Effective(seed.Answers.Overrides(), ports.InService)
		if err != nil {
			t.Fatal(err)
		}
		rtp, _ := ports.Lookup(effective, ports.RTPCore)
		if rtp.Last-rtp.First+1 != rtpPorts {
			t.Errorf("RTP range %s", rtp.Ports())
		}
	}
}

func TestPortInUseIsNamed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	err = free([]ports.Service{{ID: ports.Portal, Name: "Web portal", Proto: ports.TCP, First: port, Last: port}})
	if err == nil || !strings.Contains(err.Error(), "portal (Web portal)") {
		t.Errorf("got %v", err)
	}
}

// A port of the first instance that somebody else holds makes the next one be
// taken, and that is said. Who asked for the first hears why it cannot be.
func TestNextInstanceIsTaken(t *testing.T) {
	t.Parallel()
	usual, err := services(0)
	if err != nil {
		t.Fatal(err)
	}
	portal, _ := ports.Lookup(usual, ports.Portal)
	for range 50 { // then somebody else holds it, and for longer than another test's connection does
		if l, err := net.Listen("tcp", "127.0.0.1:"+portal.Ports()); err == nil {
			defer l.Close()
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	var said bytes.Buffer
	list, err := choose(Pick, &said)
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := ports.Lookup(list, ports.Portal); p.First == portal.First || !strings.Contains(said.String(), "taking the ports of instance ") {
		t.Errorf("portal at %s, said %q", p.Ports(), said.String())
	}
	if _, err := choose(0, &said); err == nil || !strings.Contains(err.Error(), "forwarding ") {
		t.Errorf("an instance whose ports are in use was taken: %v", err)
	}
}

// Other programs use ports of the RTP range now and then: the window slides past
// them, and ends with the range.
func TestRangeSlidesPastUsedPorts(t *testing.T) {
	t.Parallel()
	for base := uint16(21000); base < 29000; base += 3 * rtpPorts {
		rtp := ports.Service{ID: ports.RTPCore, Proto: ports.UDP, First: base, Last: base + 3*rtpPorts - 1}
		whole := rtp
		if bindable(&whole) != nil {
			continue
		}
		held, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(base) + 7})
		if err != nil {
			t.Fatal(err)
		}
		defer held.Close()
		list := []ports.Service{rtp}
		if err := free(list); err != nil || list[0].First != base+rtpPorts || list[0].Last != base+2*rtpPorts-1 {
			t.Errorf("%v, window %s of %s", err, list[0].Ports(), rtp.Ports())
		}
		list = []ports.Service{rtp}
		list[0].Last = base + rtpPorts + 1
		if err := free(list); err == nil {
			t.Errorf("window %s, which is not in the range", list[0].Ports())
		}
		return
	}
	t.Skip("every candidate range is in use here")
}
