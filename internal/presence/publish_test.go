package presence

import (
	"encoding/xml"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// pidfDoc is what a subscriber reads.
type pidfDoc struct {
	XMLName xml.Name `xml:"urn:ietf:params:xml:ns:pidf presence"`
	Entity  string   `xml:"entity,attr"`
	Basic   string   `xml:"tuple>status>basic"`
	Note    string   `xml:"tuple>note"`
	Doing   struct {
		Any []struct{ XMLName xml.Name } `xml:",any"`
	} `xml:"person>activities"`
}

func presenceOf(t *testing.T, notify string) string {
	t.Helper()
	var d pidfDoc
	if err := xml.Unmarshal([]byte(body(notify)), &d); err != nil {
		t.Fatalf("%v in %s", err, notify)
	}
	out := d.Basic
	for _, a := range d.Doing.Any {
		out += " " + a.XMLName.Local
	}
	if d.Note != "" {
		out += " (" + d.Note + ")"
	}
	return out
}

const away = `<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:102@a.test">
<tuple id="t"><status><basic>open</basic></status><note>back &lt;soon&gt;</note></tuple>
<dm:person id="p"><rpid:activities><rpid:away/><rpid:script/></rpid:activities></dm:person></presence>`

func (p *phone) publish(number, doc string, headers ...string) string {
	p.t.Helper()
	a := p.ask(sip.PUBLISH, number, append([]string{"Event: presence"}, headers...)...)
	if doc != "" {
		a.headers = append(a.headers, "Content-Type: application/pidf+xml")
		a.body = doc
	}
	return a.do()
}

// TestPresenceIsComposed of registration, calls and what people publish.
func TestPresenceIsComposed(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, nil)
		p, q := w.phone("103", 5103), w.phone("102", 5102)
		_, n := p.subscribe("presence", "102")
		step := func(want string) {
			t.Helper()
			if got := presenceOf(t, n); got != want {
				t.Errorf("presence %q, want %q", got, want)
			}
			time.Sleep(2 * time.Second)
		}
		step("closed")
		w.register("102", telephony.Binding{Tenant: 1, Contact: "sip:102@192.0.2.50", Expires: time.Now().Add(time.Hour)})
		n = p.notified()
		step("open")
		w.set(callOf("c1", telephony.CallConnected), true)
		n = p.notified()
		step("open on-the-phone")
		if ok := q.publish("102", away, "Expires: 60"); code(ok) != "200" || header(ok, "SIP-ETag") == "" || header(ok, "Expires") != "60" {
			t.Fatal(ok)
		}
		n = p.notified()
		step("open away on-the-phone (back <soon>)")
		w.end(callOf("c1", ""), true)
		n = p.notified()
		step("open away (back <soon>)")
		p.quiet(50 * time.Second)
		n = p.notified() // the publication has expired
		step("open")
		w.register("102")
		n = p.notified()
		step("closed")
		p.quiet(time.Minute)
	})
}

// TestPublish goes through the conditions of RFC 3903 section 6.
func TestPublish(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, nil)
		q := w.phone("102", 5102)
		first := q.publish("102", away)
		tag := header(first, "SIP-ETag")
		if code(first) != "200" || header(first, "Expires") != "3600" {
			t.Fatal(first)
		}
		refreshed := q.publish("102", "", "SIP-If-Match: "+tag, "Expires: 600")
		next := header(refreshed, "SIP-ETag")
		if code(refreshed) != "200" || next == tag || next == "" {
			t.Errorf("refresh: %s", refreshed)
		}
		if got := w.status("102").note; got != "back <soon>" {
			t.Errorf("a refresh changed the document: %q", got)
		}
		for _, c := range []struct {
			name, number, doc string
			headers           []string
			want              string
		}{
			{"an old entity-tag", "102", "", []string{"SIP-If-Match: " + tag}, "412"},
			{"nothing", "102", "", nil, "400"},
			{"another's", "101", away, nil, "403"},
			{"nobody's", "199", away, nil, "404"},
			{"too short", "102", away, []string{"Expires: 1"}, "423"},
			{"no XML", "102", "hello", nil, "400"},
			{"another document", "102", "<a/>", nil, "400"},
			{"entities", "102", `<!DOCTYPE x [<!ENTITY a "b">]>` + away[21:], nil, "400"},
			{"too long", "102", away + strings.Repeat(" ", maxDocument), nil, "413"},
		} {
			if got := q.publish(c.number, c.doc, c.headers...); code(got) != c.want {
				t.Errorf("%s: %s", c.name, got)
			}
		}
		wrong := q.ask(sip.PUBLISH, "102", "Event: presence", "Content-Type: text/plain")
		wrong.body = "hello"
		if got := wrong.do(); code(got) != "415" || header(got, "Accept") != "application/pidf+xml" {
			t.Errorf("another type: %s", got)
		}
		if got := q.ask(sip.PUBLISH, "102", "Event: dialog").do(); code(got) != "489" {
			t.Errorf("another event: %s", got)
		}
		changed := q.publish("102", strings.Replace(away, "open", "closed", 1), "SIP-If-Match: "+next)
		if code(changed) != "200" || w.status("102").open {
			t.Errorf("change: %s", changed)
		}
		gone := q.publish("102", "", "SIP-If-Match: "+header(changed, "SIP-ETag"), "Expires: 0")
		if code(gone) != "200" || header(gone, "Expires") != "0" || w.publications() != 0 {
			t.Errorf("removal: %s, %d left", gone, w.publications())
		}
		for range 2 * maxPublications {
			q.publish("102", away)
		}
		if w.publications() != maxPublications {
			t.Errorf("%d publications of one extension", w.publications())
		}
		time.Sleep(2 * time.Hour)
		if w.publications() != 0 {
			t.Errorf("%d publications have not expired", w.publications())
		}
	})
}

// TestMessageSummary: there is no voicemail yet, and it says so.
func TestMessageSummary(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, nil)
		p := w.phone("103", 5103)
		_, n := p.subscribe("message-summary", "103", "Accept: application/simple-message-summary")
		if body(n) != "Messages-Waiting: no\r\nMessage-Account: sip:103@a.test\r\nVoice-Message: 0/0 (0/0)\r\n" {
			t.Errorf("without mailboxes: %s", n)
		}
		w.svc.mu.Lock()
		w.svc.c.Mailboxes = twoNew{}
		w.svc.mu.Unlock()
		w.svc.MessagesChanged(1, "103")
		if n = p.notified(); !strings.Contains(n, "Messages-Waiting: yes\r\n") || !strings.Contains(n, "Voice-Message: 2/1 (0/0)\r\n") {
			t.Errorf("with two messages: %s", n)
		}
	})
}

type twoNew struct{}

func (twoNew) Messages(telephony.TenantID, string) Messages { return Messages{New: 2, Old: 1} }

// TestRegEvent: a phone sees its own bindings come and go.
func TestRegEvent(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, nil)
		p := w.phone("103", 5103)
		_, n := p.subscribe("reg", "103")
		type reginfo struct {
			XMLName      xml.Name `xml:"urn:ietf:params:xml:ns:reginfo reginfo"`
			Version      int      `xml:"version,attr"`
			Registration struct {
				AOR     string `xml:"aor,attr"`
				State   string `xml:"state,attr"`
				Contact []struct {
					State string `xml:"state,attr"`
					URI   string `xml:"uri"`
				} `xml:"contact"`
			} `xml:"registration"`
		}
		read := func() (r reginfo) {
			t.Helper()
			if err := xml.Unmarshal([]byte(body(n)), &r); err != nil || r.Registration.AOR != "sip:103@a.test" {
				t.Fatalf("%v in %s", err, n)
			}
			return r
		}
		if r := read(); r.Registration.State != "terminated" || r.Version != 0 {
			t.Errorf("first %+v", r)
		}
		contact := `sip:103@192.0.2.50;x="<&>"`
		w.register("103", telephony.Binding{Tenant: 1, Contact: contact, Instance: `<urn:uuid:1>`, Expires: time.Now().Add(time.Hour), Registered: time.Now()})
		n = p.notified()
		if r := read(); r.Registration.State != "active" || len(r.Registration.Contact) != 1 || r.Registration.Contact[0].URI != contact || r.Version != 1 {
			t.Errorf("registered %+v", r)
		}
		w.register("103")
		n = p.notified()
		if r := read(); r.Registration.State != "terminated" || r.Version != 2 {
			t.Errorf("gone %+v", r)
		}
	})
}

// TestPublishedIsRestored: what people published outlives a restart, with the
// entity-tag their phones refresh it by, and the newest still counts.
func TestPublishedIsRestored(t *testing.T) {
	inTime(t, func(t *testing.T) {
		keep := func(c *Config) { c.KeepAtShutdown = true }
		w := newWorld(t, keep)
		q := w.phone("102", 5102)
		gone := header(q.publish("102", strings.Replace(away, "<rpid:away/>", "<rpid:lunch/>", 1)), "SIP-ETag")
		short := header(q.publish("102", away, "Expires: 60"), "SIP-ETag")
		time.Sleep(time.Second)
		tag := header(q.publish("102", strings.Replace(away, "<rpid:away/>", "<rpid:meeting/>", 1)), "SIP-ETag")
		if ok := q.publish("102", "", "SIP-If-Match: "+gone, "Expires: 0"); code(ok) != "200" {
			t.Fatal(ok)
		}
		c := w.svc.Take()
		w.svc.Return(c) // the disk did not take it
		if c = w.svc.Take(); len(c.PutPublished) != 2 || len(c.RemovedPublished) != 1 || c.RemovedPublished[0].Tag != gone || !w.svc.Take().Empty() {
			t.Fatalf("to store: %+v", c)
		}
		slices.SortFunc(c.PutPublished, func(a, b telephony.Publication) int { return a.Published.Compare(b.Published) })
		if c.PutPublished[0].Tag != short || c.PutPublished[1].Tag != tag {
			t.Fatalf("to store: %+v", c)
		}
		w.close()
		time.Sleep(90 * time.Second)

		v := newWorld(t, keep)
		v.phones = w.phones
		q.w = v
		v.svc.RestorePublished(c.PutPublished)
		if st := v.status("102"); len(st.activities) != 1 || st.activities[0] != "meeting" || st.note != "back <soon>" {
			t.Errorf("restored %+v", st)
		}
		if no := q.publish("102", "", "SIP-If-Match: "+short); code(no) != "412" {
			t.Errorf("one that expired meanwhile: %s", no)
		}
		if ok := q.publish("102", "", "SIP-If-Match: "+tag, "Expires: 600"); code(ok) != "200" {
			t.Errorf("refresh: %s", ok)
		}
		if c := v.svc.Take(); len(c.PutPublished) != 1 || len(c.RemovedPublished) != 1 || c.RemovedPublished[0].Tag != tag {
			t.Errorf("to store after the refresh: %+v", c)
		}
	})
}
