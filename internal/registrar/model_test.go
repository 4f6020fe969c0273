package registrar

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/location"
	"ringfence/internal/telephony"
)

// model is the registrar as a reader of RFC 3261 section 10.3 and RFC 5626
// section 6 would write it down: one contact a request, no hurry.
type model struct {
	max     int
	entries []entry // the latest registered first
}

type entry struct {
	contact, instance, callID string
	regID, cseq               int
	flow                      bool // one of several
	expires                   time.Time
}

func (e entry) String() string {
	s := fmt.Sprintf("<%s>;expires=%d", e.contact, int((time.Until(e.expires)+time.Second-1)/time.Second))
	if e.instance != "" {
		s += fmt.Sprintf(";+sip.instance=%q", e.instance)
	}
	if e.flow {
		s += fmt.Sprintf(";reg-id=%d", e.regID)
	}
	return s
}

func (m *model) expire() {
	m.entries = slices.DeleteFunc(m.entries, func(e entry) bool { return !e.expires.After(time.Now()) })
}

// removeAll is Contact "*".
func (m *model) removeAll(callID string, cseq int) string {
	for _, e := range m.entries {
		if e.callID == callID && e.cseq > cseq {
			return "500"
		}
	}
	m.entries = nil
	return "200"
}

func (m *model) register(e entry, life int) string {
	at := -1
	for i, x := range m.entries {
		switch {
		case e.flow && x.flow && x.instance == e.instance && x.regID == e.regID, !e.flow && x.contact == e.contact:
			at = i
		}
		if at >= 0 {
			break
		}
	}
	if at < 0 && !e.flow && e.instance != "" && life > 0 {
		at = slices.IndexFunc(m.entries, func(x entry) bool { return x.instance == e.instance && !x.flow })
	}
	if at >= 0 {
		old := m.entries[at]
		if old.callID == e.callID && old.cseq > e.cseq {
			return "500"
		}
		if old.callID == e.callID && old.cseq == e.cseq {
			return "200"
		}
		m.entries = slices.Delete(m.entries, at, at+1)
	}
	if life > 0 {
		e.expires = time.Now().Add(time.Duration(life) * time.Second)
		m.entries = slices.Insert(m.entries, 0, e)
		m.entries = m.entries[:min(len(m.entries), m.max)]
	}
	return "200"
}

// disk is the database as the writer behind would keep it.
type disk map[location.Key]telephony.Binding

func (d disk) follow(c location.Changed) {
	for _, b := range c.Removed {
		delete(d, location.KeyOf(&b))
	}
	for _, b := range c.Put {
		d[location.KeyOf(&b)] = b
	}
}

// FuzzRegistrations sends sequences of REGISTERs, four bytes each, and compares
// every answer, and what would be stored, with the model.
func FuzzRegistrations(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0x0c, 1, 0, 2, 0x0c, 2, 0, 3, 0x0c, 3, 0, 4, 0x0c, 4, 0, 5, 0})                // one too many
	f.Add([]byte{0x40, 0x11, 1, 0x0c, 0x41, 0x21, 2, 0x0c, 0x42, 0x11, 3, 0x0c, 4, 0, 4, 0})             // two flows, one moves
	f.Add([]byte{0, 1, 1, 0x0c, 1, 1, 2, 0x0c, 2, 0, 3, 0x0c, 2, 0, 0x41, 0, 8, 0, 0, 0, 8, 0, 9, 0x01}) // a device moves, removals
	f.Add([]byte{0, 0, 0, 0, 0, 1, 0, 0, 1, 1, 1, 0, 9, 0, 0, 0})
	f.Add([]byte{0x40, 0x11, 0, 0, 0x41, 0x21, 1, 0, 0x41, 0x11, 2, 8, 8, 0, 3, 0, 0, 0, 0, 0x90})
	f.Fuzz(func(t *testing.T, program []byte) {
		synctest.Test(t, func(t *testing.T) { play(t, program[:min(len(program), 160)]) })
	})
}

func play(t *testing.T, program []byte) {
	r := newRig(t, Config{})
	r.tenant(telephony.Registration{MaxContacts: 3})
	m, kept := &model{max: 3}, disk{}
	for ; len(program) >= 4; program = program[4:] {
		p := program[:4]
		time.Sleep(time.Duration(1+int(p[3]>>4)*30) * time.Second)
		m.expire()
		e := entry{
			contact: fmt.Sprintf("sip:%c@h", 'a'+p[0]&3), callID: fmt.Sprint("call-", p[2]>>6), cseq: int(p[2]&15) + 1,
		}
		if n := p[1] & 3; n > 0 {
			e.instance = fmt.Sprintf("<urn:uuid:%d>", n)
		}
		e.regID = int(p[1] >> 4 & 3)
		e.flow = p[0]&0x40 != 0 && e.instance != "" && e.regID > 0
		life := []int{0, 60, 120, 600}[p[3]>>2&3]
		want, a := "200", ask{cseq: e.cseq, callID: e.callID, branch: fmt.Sprint(len(program))}
		switch p[0] >> 2 & 3 {
		case 1: // a query
		case 2:
			a.lines = []string{"Contact: *", "Expires: 0"}
			want = m.removeAll(e.callID, e.cseq)
		default:
			c := fmt.Sprintf("Contact: <%s>;expires=%d", e.contact, life)
			if e.instance != "" {
				c += fmt.Sprintf(";+sip.instance=%q", e.instance)
			}
			if e.regID > 0 {
				c += fmt.Sprintf(";reg-id=%d", e.regID)
			}
			a.lines = []string{c, "Supported: path"}
			if e.flow {
				a.lines[1] += ", outbound"
			}
			want = m.register(e, life)
		}
		compare(t, r, m, a, want)
		if p[3]&1 != 0 {
			kept.follow(r.loc.Take())
		}
	}
	kept.follow(r.loc.Take())
	m.expire()
	for k, b := range kept {
		if !b.Expires.After(time.Now()) {
			delete(kept, k) // the database forgets those by itself
		}
	}
	if len(kept) != len(m.entries) {
		t.Errorf("stored %v, there are %v", kept, m.entries)
	}
}

func compare(t *testing.T, r *rig, m *model, a ask, want string) {
	t.Helper()
	code, answer := r.register(a)
	if code[:3] != want {
		t.Fatalf("%+v: %s, the model says %s; %v", a, code, want, m.entries)
	}
	keys := map[location.Key]bool{}
	for _, b := range r.loc.All(1) {
		if keys[location.KeyOf(&b)] {
			t.Fatalf("%+v is there twice", location.KeyOf(&b))
		}
		keys[location.KeyOf(&b)] = true
	}
	if want != "200" {
		return
	}
	var said []string
	for _, e := range m.entries {
		said = append(said, e.String())
	}
	got := contacts(answer)
	slices.SortFunc(got, cmp.Compare[string])
	slices.SortFunc(said, cmp.Compare[string])
	if strings.Join(got, "\n") != strings.Join(said, "\n") {
		t.Fatalf("%+v:\n%q, the model says\n%q", a, got, said)
	}
}
