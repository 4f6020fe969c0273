// Package acmelab is a certificate authority that speaks ACME, for tests: Let's
// Encrypt's own Pebble, with a name server beside it.
package acmelab

import (
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"golang.org/x/net/dns/dnsmessage"
)

// DirectoryPath is where the directory is.
const DirectoryPath = wfe.DirectoryPath

// Options say how the authority asks.
type Options struct {
	HTTPPort int        // of the challenges; 80 is the real one
	Names    netip.Addr // what every name leads to
	// Delay passes before a challenge is begun.
	Delay time.Duration
}

// Begin readies the process for authorities: Pebble would wait up to five
// seconds before each challenge.
func Begin() error { return os.Setenv("PEBBLE_VA_NOSLEEP", "1") }

// Handler is the authority; names is a listener for its name server, which it
// closes itself never.
func Handler(o Options, names net.Listener) http.Handler {
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "default"}})
	go serveNames(names, o.Names)
	validator := va.New(quiet, o.HTTPPort, o.HTTPPort, true, names.Addr().String(), store)
	front := wfe.New(quiet, store, validator, issuer, nil, true, false, 0, 0)
	inner := front.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/chalZ/") {
			time.Sleep(o.Delay)
		}
		inner.ServeHTTP(w, r)
	})
}

// serveNames answers every name with one address, over TCP (RFC 7766 section 8).
func serveNames(l net.Listener, a netip.Addr) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go answerNames(c, a)
	}
}

func answerNames(c net.Conn, a netip.Addr) {
	defer c.Close()
	for {
		var size uint16
		if binary.Read(c, binary.BigEndian, &size) != nil {
			return
		}
		buf := make([]byte, size)
		if _, err := io.ReadFull(c, buf); err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf) != nil || len(m.Questions) != 1 {
			return
		}
		m.Response, m.Additionals = true, nil
		if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: a.As4()}}}
		}
		out, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return
		}
	}
}
