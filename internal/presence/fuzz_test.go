package presence

import (
	"encoding/xml"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// trusting is a world that takes every request for one of extension 103 of
// tenant 1.
func trusting(t testing.TB, change func(*Config)) (*world, *phone) {
	w := newWorld(t, change)
	tenant, _ := w.snap.Tenant(1)
	who, _ := w.snap.Extension(1, "103")
	w.ep.Close()
	w.ep = sip.New(sip.Config{Logger: w.svc.c.Logger, Workers: 1})
	w.svc.c.Endpoint = w.ep
	w.ep.Handle(sip.SUBSCRIBE, sip.HandlerFunc(func(tx *sip.ServerTx) {
		if tx.Request().To.Tag() == "" {
			w.svc.subscribe(tx, tenant, who)
		} else {
			w.svc.refresh(tx, tenant, who)
		}
	}))
	w.ep.Handle(sip.PUBLISH, sip.HandlerFunc(func(tx *sip.ServerTx) { w.svc.publish(tx, tenant, who) }))
	var err error
	if w.flow, err = w.ep.Attach(ports.SIPUDP, ports.Core, server, w); err != nil {
		t.Fatal(err)
	}
	return w, w.phone("103", 5103)
}

// settle waits until everything sent before was handled.
func (p *phone) settle() {
	p.count++
	id := fmt.Sprintf("settle-%d", p.count)
	p.send("OPTIONS sip:a.test SIP/2.0\r\nVia: SIP/2.0/UDP x;rport;branch=z9hG4bK" + id + "\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a.test>\r\nCall-ID: " + id + "\r\nCSeq: 1 OPTIONS\r\n\r\n")
	for deadline := time.After(10 * time.Second); ; {
		select {
		case m := <-p.in:
			if strings.HasPrefix(m, "NOTIFY ") {
				p.reply(m, 200)
			}
			if header(m, "Call-ID") == id {
				return
			}
		case <-deadline:
			p.t.Fatal("the endpoint is stuck")
		}
	}
}

// FuzzRequests: whatever a phone asks for, every document is well formed and
// nothing grows.
func FuzzRequests(f *testing.F) {
	f.Add("SUBSCRIBE", "Event: dialog;id=1\r\nExpires: 60\r\nContact: <sip:a@b>", "", "")
	f.Add("SUBSCRIBE", "Event: presence\r\nAccept: */*\r\nContact: \"<&\" <sip:a@b;x=\"y\">\r\nRecord-Route: <sip:x>, <sip:y;lr>", "", "")
	f.Add("SUBSCRIBE", "o: reg\r\nExpires: 0\r\nm: <sips:103@[::1]>", "tag", "")
	f.Add("PUBLISH", "Event: presence\r\nContent-Type: application/pidf+xml\r\nExpires: 4294967296", "", away)
	f.Add("PUBLISH", "Event: presence\r\nSIP-If-Match: x", "", "")
	w, p := trusting(f, func(c *Config) { c.PerSubscriber, c.Publications, c.Burst = 20, 20, 1<<30 })
	w.set(callOf("c1", telephony.CallRinging), true)
	n := 0
	f.Fuzz(func(t *testing.T, method, headers, toTag, body string) {
		p.t = t
		n++
		to := ""
		if toTag != "" {
			to = ";tag=" + toTag
		}
		p.send(fmt.Sprintf("%s sip:103@a.test SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%d\r\nFrom: <sip:103@a.test>;tag=f\r\nTo: <sip:103@a.test>%s\r\nCall-ID: fuzz\r\nCSeq: %d %s\r\n%s\r\n\r\n%s",
			method, p.addr, n, to, n, method, headers, body))
		p.settle()
		if w.ep.Stats().Panics != 0 {
			t.Fatal("panic")
		}
		if w.svc.Len() > 20 || w.publications() > 20 {
			t.Fatalf("%d subscriptions, %d publications", w.svc.Len(), w.publications())
		}
		w.svc.mu.Lock()
		defer w.svc.mu.Unlock()
		for _, u := range w.svc.byTag {
			contentType, doc := w.svc.document(u)
			if strings.HasSuffix(contentType, "xml") {
				var any struct{ XMLName xml.Name }
				if err := xml.Unmarshal(doc, &any); err != nil {
					t.Fatalf("%v in %s", err, doc)
				}
			}
		}
	})
}

// FuzzPIDF: a published document is read or refused, and what was read can be
// told.
func FuzzPIDF(f *testing.F) {
	f.Add([]byte(away))
	f.Add([]byte(`<presence xmlns="urn:ietf:params:xml:ns:pidf"/>`))
	f.Add([]byte(`<?xml version="1.0" encoding="latin-1"?><presence xmlns="urn:ietf:params:xml:ns:pidf"><note>` + strings.Repeat("ü", 200) + `</note></presence>`))
	w := newWorld(f, nil)
	f.Fuzz(func(t *testing.T, doc []byte) {
		st, err := parsePIDF(doc)
		if err != nil {
			return
		}
		if len(st.note) > maxNote || len(st.activities) > 30 {
			t.Errorf("kept %+v", st)
		}
		u := &subscription{key: resourceKey{extension{1, "102"}, presenceEvent}}
		w.svc.mu.Lock()
		defer w.svc.mu.Unlock()
		w.svc.published[u.key.extension] = []publication{{status: st, expires: time.Now().Add(time.Hour)}}
		var any struct{ XMLName xml.Name }
		if err := xml.Unmarshal(w.svc.pidf(u), &any); err != nil {
			t.Errorf("%v in %s", err, w.svc.pidf(u))
		}
	})
}

// TestMemoryOfASubscription: ten thousand lamps cost less than two kilobytes
// each.
func TestMemoryOfASubscription(t *testing.T) {
	const count = 10_000
	w, p := trusting(t, func(c *Config) { c.PerSubscriber = count; c.KeepAtShutdown = true; c.Sweep = time.Hour })
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range count {
		p.send(fmt.Sprintf("SUBSCRIBE sip:102@a.test SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKmemory%d\r\nMax-Forwards: 70\r\nFrom: \"Somebody Else\" <sip:103@a.test>;tag=0123456789-%d\r\nTo: <sip:102@a.test>\r\n"+
			"Call-ID: 0_0123456789abcdef-%d@192.0.2.50\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:103@192.0.2.50:5103;ob>\r\nEvent: dialog\r\nAccept: application/dialog-info+xml\r\nExpires: 3600\r\nUser-Agent: A phone of some maker, with a long name\r\nContent-Length: 0\r\n\r\n", p.addr, i, i, i))
		if i%50 == 49 {
			p.settle()
		}
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline) && w.svc.busy(); {
		p.settle()
	}
	if w.svc.Len() != count {
		t.Fatalf("%d subscriptions", w.svc.Len())
	}
	w.svc.Take()
	w.ep.Close() // its completed transactions are not the subscriptions' cost
	each := (heap() - before) / count
	t.Logf("%d bytes a subscription", each)
	if each > 2048 {
		t.Errorf("%d bytes a subscription", each)
	}
	runtime.KeepAlive(w)
}
