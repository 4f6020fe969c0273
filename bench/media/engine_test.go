package media

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"ringfence/internal/media"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// engineVariable makes this program the engine that is measured, at the
// address it names, instead of the tests.
const engineVariable = "RINGFENCE_BENCH_ENGINE"

// spoolVariable names the folder of its recordings.
const spoolVariable = "RINGFENCE_BENCH_SPOOL"

func TestMain(m *testing.M) {
	if addr := os.Getenv(engineVariable); addr != "" {
		if err := serveEngine(addr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// engine is our media engine behind the control protocol of the peer.
type engine struct {
	*media.Engine
	local netip.Addr
	calls map[string]*engineCall
}

type engineCall struct {
	call *media.Call
	a, b *media.Leg
}

func serveEngine(listen string) error {
	addr, err := netip.ParseAddrPort(listen)
	if err != nil {
		return err
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return err
	}
	row, _ := ports.Lookup(ports.Table(), ports.RTPCore)
	e := engine{
		media.New(media.Config{Pools: map[ports.Side]ports.Service{ports.Core: row}, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}),
		addr.Addr(), map[string]*engineCall{},
	}
	buf := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return err
		}
		cookie, d, err := parseNG(buf[:n])
		if err != nil {
			continue
		}
		answer := dict{"result": "ok"}
		if err := e.do(d, answer); err != nil {
			answer = dict{"result": "error", "error-reason": err.Error()}
		}
		if _, err := conn.WriteToUDPAddrPort(append([]byte(cookie+" "), answer.encode()...), from); err != nil {
			return err
		}
	}
}

func (e *engine) do(d, answer dict) error {
	id := d.text("call-id")
	c := e.calls[id]
	switch command := d.text("command"); {
	case command == "offer":
		return e.offer(id, d, answer)
	case command == "answer" && c != nil:
		if err := c.b.SetRemote([]byte(d.text("sdp"))); err != nil {
			return err
		}
		sdp, err := c.a.Answer(c.b)
		answer["sdp"] = string(sdp)
		c.call.Bridge(c.a, c.b)
		return err
	case command == "start recording" && c != nil:
		_, err := c.a.Record(media.RecordOptions{Path: filepath.Join(os.Getenv(spoolVariable), url.PathEscape(id)+".wav")})
		return err
	case command == "delete" && c != nil:
		c.call.Close()
		delete(e.calls, id)
	case command == "statistics":
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		answer["mallocs"] = int(m.Mallocs)
	}
	return nil
}

func (e *engine) offer(id string, d, answer dict) error {
	c := &engineCall{call: e.NewCall(telephony.CallID(id))}
	e.calls[id] = c
	var err error
	p := media.LegParams{Side: ports.Core, Local: e.local, PeerSignalling: netip.MustParseAddr(d.text("peer")), Security: telephony.SecurityOff}
	if strings.Contains(d.text("sdp"), "RTP/SAVP") {
		p.Security = telephony.SecurityRequire
	}
	if c.a, err = c.call.NewLeg(context.Background(), p); err != nil {
		return err
	}
	if err := c.a.SetRemote([]byte(d.text("sdp"))); err != nil {
		return err
	}
	p.Security = telephony.SecurityOff
	if d.text("transport-protocol") == "RTP/SAVP" {
		p.Security = telephony.SecurityRequire
	}
	if c.b, err = c.call.NewLeg(context.Background(), p); err != nil {
		return err
	}
	sdp, err := c.b.Offer(c.a)
	answer["sdp"] = string(sdp)
	return err
}
