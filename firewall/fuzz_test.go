package firewall

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

// FuzzServe feeds a connection's bytes to the whole command loop: nothing may
// panic, hang, or reach the kernel that Compile would refuse.
func FuzzServe(f *testing.F) {
	frame := func(body string) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
	}
	for _, body := range []string{
		`{"id":1,"method":"status"}`, `{"id":2,"method":"bans"}`, `{"id":3,"method":"counters"}`,
		`{"id":4,"method":"ban","body":{"bans":[{"prefix":"192.0.2.1/32","scope":"sip","until":"2099-01-01T00:00:00Z"}]}}`,
		`{"id":5,"method":"media","body":{"open":[45000],"ttl":1000000000}}`,
		`{"id":6,"method":"apply","body":{"policy":{"mode":"cloud","services":[],"block":["10.0.0.0/8"],"limits":{"l1":1,"l2":2,"l1_block":1000000000,"l2_block":2000000000,"known":1,"total":1,"total_connections":1}},"confirm":0}}`,
		`{"id":7,"method":"known","body":{"prefixes":["2001:db8::1/128"],"ttl":60000000000}}`,
		`{"id":11,"method":"explain","body":{"source":"2001:db8::1","proto":"udp","port":45000}}`,
		`{"id":10,"method":"verdicts","body":{"run":1,"since":18446744073709551615}}`,
		`{"id":8,"method":"set_addresses","body":{"config":{"interfaces":[{"name":"eth0","dhcp4":true}]},"confirm":1}}`,
	} {
		f.Add(frame(body))
		f.Add(append(frame(body), frame(`{"id":9,"method":"confirm","body":{"rev":0}}`)...))
	}
	f.Add([]byte("\x00\x00\x00\x02{}\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		k := &fakeKernel{}
		s, err := NewServer(Options{Dir: t.TempDir(), Kernel: k, Logger: quiet()})
		must(t, err)
		must(t, s.Start())
		go s.media.run(t.Context())
		ours, theirs := net.Pipe()
		served := make(chan struct{})
		go func() {
			defer close(served)
			s.serveConn(t.Context(), theirs)
		}()
		go func() { _, _ = io.Copy(io.Discard, ours) }()
		_, _ = ours.Write(in)
		time.Sleep(time.Millisecond)
		_ = ours.Close()
		select {
		case <-served:
		case <-time.After(20 * time.Second):
			t.Fatal("the connection is still served")
		}
		s.policy.stop()
		s.network.stop()
	})
}

// FuzzFrame: what is read back is what was written, and nothing else is read.
func FuzzFrame(f *testing.F) {
	f.Add([]byte(`{"id":1,"method":"status","body":{"a":[1,2]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		in := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
		var r request
		if readFrame(bytes.NewReader(in), &r, func() {}) != nil {
			return
		}
		var out bytes.Buffer
		must(t, writeFrame(&out, r))
		var again request
		must(t, readFrame(&out, &again, func() {}))
		if again.ID != r.ID || again.Method != r.Method {
			t.Errorf("%+v became %+v", r, again)
		}
	})
}
