package b2bua

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// FuzzCall plays any script with a call: each byte is something that the caller
// or one of two phones of the callee does next, in or out of order, or time that
// passes. Whatever they do, no code panics, and when all is over there is one
// record (more after a transfer), and no leg, transaction or media.
func FuzzCall(f *testing.F) {
	for _, seed := range []string{
		"\x00\x10\x20\x30",                         // rings, answered, ACK, BYE
		"\x0c\x28\x1c\x1a\x18\x50\x31\x30",         // reliable, PRACK, UPDATE
		"\x04\x84\x08\x18\x48\x11\x21\x40\x51\x61", // several tags and phones
		"\x11\x21\x71\x91\x71\xf1\xf2\xf3",         // re-INVITEs, time
		"\x01\x02\x03\x14\x25\x36\x47\x58\x69\x7a\x8b\x9c\xad\xbe\xcf",
	} {
		for _, variant := range []byte{0, 1, 2, 3, 7} {
			f.Add(variant, []byte(seed))
		}
	}
	// A re-INVITE that rang, unanswered, when the call ended.
	f.Add(byte(245), []byte("\x4e\xe7\xcf\x62\xfd\xa6\xec\x8b\x2c\x87\x20\x5e\x79\xf7\xad\x59\x81\xf2\x1f\x4e\x0e\x52\x15\xd0\x4c\xee\x95\x63\x35\xfd"))
	f.Fuzz(func(t *testing.T, variant byte, script []byte) {
		if len(script) > 60 {
			return
		}
		synctest.Test(t, func(t *testing.T) { play(t, variant, script) })
	})
}

// player is a phone of a script and what it has seen.
type player struct {
	*phone
	d        *dialogue
	invite   string   // the last INVITE it got
	asked    []string // other requests that it has not answered
	seen     string   // the last provisional response to its own INVITE
	refused  string
	tags     int
	referred bool
}

func play(t *testing.T, variant byte, script []byte) {
	s, a, b1 := pair(t, nil)
	b2 := s.phone("102", 5202)
	if variant&4 != 0 {
		b2.register()
	}
	offer, extra := "v=0 offer-a", []string{takesUpdate}
	if variant&1 != 0 {
		extra = append(extra, "Supported: 100rel, timer", "Session-Expires: 300")
	}
	if variant&2 != 0 {
		offer = ""
	}
	players := []*player{{phone: a, d: a.dial("102", offer, extra...)}, {phone: b1}, {phone: b2}}
	for _, op := range script {
		for _, p := range players {
			p.look()
		}
		step(players, op)
	}
	for _, p := range players {
		p.look()
	}
	s.svc.Close()
	for _, p := range players {
		p.look()
	}
	time.Sleep(2 * time.Minute)
	st := s.ep.Stats()
	referred := players[0].referred || players[1].referred || players[2].referred
	if n := len(s.records); n == 0 || n > 1 && !referred || len(s.svc.Calls(telephony.System)) != 0 {
		t.Errorf("%d records", n)
	}
	if s.svc.dialogs.Len() != 0 || st.Pending != 0 || st.Panics != 0 || s.media.open.Load() != 0 {
		t.Errorf("%d legs, %d transactions, %d panics, %d media legs", s.svc.dialogs.Len(), st.Pending, st.Panics, s.media.open.Load())
	}
	if r := <-s.records; r.StatusCode == 500 && r.Reason == telephony.EndFailed && !strings.Contains(fmt.Sprint(players[1].refused, players[2].refused), "500") {
		t.Errorf("the call failed: %+v", r)
	}
}

// look reads what has come.
func (p *player) look() {
	synctest.Wait()
	for len(p.in) > 0 {
		m := <-p.in
		switch {
		case strings.HasPrefix(m, "INVITE"):
			p.invite = m
			if p.d == nil {
				p.d = p.dialogueOf(m, "t0")
			}
		case strings.HasPrefix(m, "ACK"), strings.HasPrefix(m, "CANCEL"):
		case !strings.HasPrefix(m, "SIP/2.0"):
			p.asked = append(p.asked, m)
		case strings.HasSuffix(header(m, "CSeq"), "INVITE") && line(m)[8] == '1' && header(m, "RSeq") != "":
			p.seen = m
		case strings.HasSuffix(header(m, "CSeq"), "INVITE") && line(m)[8] == '2':
			p.d.learn(m)
		}
	}
}

// step does one thing: the high half of op says what, the low half who and how.
func step(players []*player, op byte) {
	how := int(op & 15)
	p := players[how%3]
	sdp := ""
	if how&4 != 0 {
		sdp = fmt.Sprint("v=0 sdp", how)
	}
	flag := how&8 != 0
	if what := op >> 4; what < 4 {
		p = players[1+how%2]
		p.answer(int(what), how, sdp, flag)
		return
	} else if what >= 13 {
		time.Sleep([]time.Duration{100 * time.Millisecond, time.Second, 3 * time.Second, 40 * time.Second, 5 * time.Minute, time.Hour}[how%6])
		return
	}
	if p.d == nil {
		return
	}
	switch op >> 4 {
	case 4:
		p.d.request(sip.ACK, sdp)
	case 5:
		p.d.request(sip.UPDATE, sdp, "Supported: timer", "Session-Expires: 120")
	case 6:
		p.d.request(sip.BYE, "")
	case 7:
		p.d.request(sip.INVITE, sdp, takesUpdate)
	case 8:
		if p.seen != "" {
			p.d.prack(p.seen, map[bool]string{true: sdp}[flag])
		}
	case 9, 10:
		if len(p.asked) > 0 {
			m := p.asked[0]
			p.asked = p.asked[1:]
			p.reply(m, []int{200, 200, 481, 491, 500, 422, 405, 200}[how>>1], "", sdp, "Min-SE: 2000", "Retry-After: 1", "Session-Expires: 100;refresher=uac")
		}
	case 11:
		p.d.request(sip.CANCEL, "")
	case 12:
		if flag {
			p.referred = true
			p.d.request(sip.REFER, "", "Refer-To: <sip:102@a.test>")
			return
		}
		p.d.request(sip.INFO, sdp)
	}
}

// answer is what a phone says to the last INVITE it got.
func (p *player) answer(what, how int, sdp string, flag bool) {
	if p.invite == "" {
		return
	}
	tag := fmt.Sprint("t", how>>1&1)
	extra := []string{takesUpdate}
	switch what {
	case 0:
		if flag {
			p.tags++
			extra = append(extra, "Require: 100rel", fmt.Sprint("RSeq: ", p.tags))
		}
		p.reply(p.invite, 180+how&3, tag, sdp, extra...)
	case 1, 2:
		if flag {
			extra = append(extra, "Require: timer", "Session-Expires: 90;refresher=ua"+string("cs"[how&1]))
		}
		p.reply(p.invite, 200, tag, sdp, extra...)
	case 3:
		code := []int{486, 422, 491, 500, 302, 603, 481, 408}[how>>1]
		p.refused += fmt.Sprint(code, " ")
		p.reply(p.invite, code, tag, "", "Min-SE: 900", "Contact: <sip:103@a.test>")
	}
}

// TestScripts plays scripts of random steps; a failure names the script.
func TestScripts(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 1))
	for i := range 200 {
		variant, script := byte(r.Uint32()), make([]byte, 10+r.IntN(40))
		for j := range script {
			script[j] = byte(r.Uint32())
		}
		if !t.Run(fmt.Sprintf("%d %x", variant, script), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { play(t, variant, script) })
		}) && i > 0 {
			return
		}
	}
}
