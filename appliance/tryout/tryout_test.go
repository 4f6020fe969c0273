package tryout

import (
	"net"
	"strings"
	"testing"

	cloudinit "ringfence/cloud-init"
	"ringfence/internal/ports"
)

// The seed of make run is one the guest accepts whole.
func TestSeedIsUnderstood(t *testing.T) {
	t.Parallel()
	for _, k := range []int{0, 3} {
		list, err := services(k)
		if err != nil {
			t.Fatal(err)
		}
		seed, problems := cloudinit.Parse(cloudinit.Documents{UserData: []byte(userData(list)), MetaData: []byte("instance-id: tryout\n")})
		if len(problems) > 0 {
			t.Fatalf("instance %d: %v", k, problems)
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
