package b2bua

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// purse pays for calls, and writes down what it is told.
type purse struct {
	mu     sync.Mutex
	refuse map[telephony.TrunkID]int // with this code
	asked  []Outside
	meters []*coin
}

// coin is the meter of one call on one trunk.
type coin struct {
	mu              sync.Mutex
	answered, ended int
	before          bool // ended before it was answered
	talked          time.Duration
	since           time.Time
}

func (p *purse) spend(o Outside) (Meter, *sip.Reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, o)
	if code := p.refuse[o.Trunk]; code != 0 {
		return nil, &sip.Reply{Code: code, Headers: []sip.Header{warning("no money")}}
	}
	m := &coin{}
	p.meters = append(p.meters, m)
	return m, nil
}

func (m *coin) Answered(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answered++
	m.since, m.before = at, m.ended > 0
}

func (m *coin) Ended(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended++; m.answered > 0 {
		m.talked = at.Sub(m.since)
	}
}

// told checks how often each meter was told what, and that each ended once.
func (p *purse) told(t testing.TB, answered ...int) {
	t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	var got []int
	for i, m := range p.meters {
		m.mu.Lock()
		if got = append(got, m.answered); m.ended != 1 || m.before {
			t.Errorf("meter %d was told of %d ends, answered after it: %v", i, m.ended, m.before)
		}
		m.mu.Unlock()
	}
	if !slices.Equal(got, answered) {
		t.Errorf("meters were told of answers %v, want %v", got, answered)
	}
}

// cut ends the last call.
func (p *purse) cut() {
	p.mu.Lock()
	last := p.asked[len(p.asked)-1]
	p.mu.Unlock()
	last.Cut()
	last.Cut()
}

func paid(t *testing.T, trunks []telephony.Trunk) (*purse, *stack, *fakeTrunks, *phone, *phone, []*phone) {
	t.Helper()
	money := &purse{refuse: map[telephony.TrunkID]int{}}
	s, f, a, b := outer(t, trunks, func(c *Config) { c.Spend = money.spend }, nil)
	var servers []*phone
	for i, x := range trunks {
		servers = append(servers, s.provider(f, x, uint16(7001+i), nil))
	}
	return money, s, f, a, b, servers
}

// TestWhatMayNotBePaidDoesNotGoOut: the refusal of one trunk leaves the others;
// that of all is the caller's answer.
func TestWhatMayNotBePaidDoesNotGoOut(t *testing.T) {
	for _, code := range []int{403, 480, 503} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				money, s, f, a, _, p := paid(t, two())
				money.refuse[1] = code
				a.dial("00891234567", "v=0 offer-a")
				inv := p[1].want("INVITE")
				p[1].reply(inv, 486, "q", "")
				p[1].want("ACK")
				a.want("486")
				s.ended(telephony.EndBusy, 486)
				money.told(t, 0)
				if o := money.asked[0]; len(money.asked) != 2 || o.Account != "101" || o.Class != telephony.ClassNational || o.Number != "+49891234567" || o.Country != "DE" || o.Trunk != 1 {
					t.Errorf("%+v", money.asked)
				}

				money.refuse[2] = code
				a.dial("00891234567", "v=0 offer-a")
				if no := a.want(fmt.Sprint(code)); !strings.Contains(header(no, "Warning"), "no money") {
					t.Error(no)
				}
				p[0].quiet(time.Second)
				p[1].quiet(time.Second)
				s.ended(telephony.EndLimit, code)
				money.told(t, 0)
				f.idle(t)
			})
		})
	}
}

// TestTheMeterHearsOfEveryEnd: once that it was answered, if it was, and once that
// it is over, whoever ends it and how.
func TestTheMeterHearsOfEveryEnd(t *testing.T) {
	talk := func(a, p *phone, d *dialogue, inv string) *dialogue {
		p.reply(inv, 200, "p1", "v=0 answer-p")
		p.want("ACK")
		d.learn(a.want("200"))
		d.request(sip.ACK, "")
		time.Sleep(10 * time.Second)
		return p.dialogueOf(inv, "p1")
	}
	for _, x := range []struct {
		name string
		// end plays the call from the first INVITE on.
		end      func(s *stack, m *purse, a *phone, p []*phone, d *dialogue, inv string)
		answered []int
		reason   telephony.EndReason
	}{
		{"the caller hangs up", func(_ *stack, _ *purse, a *phone, p []*phone, d *dialogue, inv string) {
			talk(a, p[0], d, inv)
			d.request(sip.BYE, "")
			p[0].reply(p[0].want("BYE"), 200, "", "")
		}, []int{1}, telephony.EndCallerHungUp},
		{"the callee hangs up", func(_ *stack, _ *purse, a *phone, p []*phone, d *dialogue, inv string) {
			talk(a, p[0], d, inv).request(sip.BYE, "")
			a.reply(a.want("BYE"), 200, "", "")
		}, []int{1}, telephony.EndCalleeHungUp},
		{"the callee is busy", func(_ *stack, _ *purse, _ *phone, p []*phone, _ *dialogue, inv string) {
			p[0].reply(inv, 486, "p1", "")
		}, []int{0}, telephony.EndBusy},
		{"the caller gives up", func(_ *stack, _ *purse, _ *phone, p []*phone, d *dialogue, inv string) {
			p[0].reply(inv, 180, "p1", "")
			synctest.Wait()
			d.request(sip.CANCEL, "")
			p[0].want("CANCEL")
			p[0].reply(inv, 487, "p1", "")
		}, []int{0}, telephony.EndCancelled},
		{"the answer crosses the CANCEL", func(_ *stack, _ *purse, _ *phone, p []*phone, d *dialogue, inv string) {
			p[0].reply(inv, 180, "p1", "")
			synctest.Wait()
			d.request(sip.CANCEL, "")
			p[0].want("CANCEL")
			p[0].reply(inv, 200, "p1", "v=0 late")
			p[0].want("ACK")
			p[0].reply(p[0].want("BYE"), 200, "", "")
		}, []int{0}, telephony.EndCancelled},
		{"the second trunk takes it", func(_ *stack, _ *purse, a *phone, p []*phone, d *dialogue, inv string) {
			p[0].reply(inv, 503, "p1", "")
			p[0].want("ACK")
			talk(a, p[1], d, p[1].want("INVITE")).request(sip.BYE, "")
			a.reply(a.want("BYE"), 200, "", "")
		}, []int{0, 1}, telephony.EndCalleeHungUp},
		{"nobody answers at all", func(_ *stack, _ *purse, _ *phone, p []*phone, _ *dialogue, _ string) {
			p[1].want("INVITE")
			time.Sleep(10 * time.Second)
		}, []int{0, 0}, telephony.EndTrunks},
		{"it rings for ever", func(_ *stack, _ *purse, _ *phone, p []*phone, _ *dialogue, inv string) {
			p[0].reply(inv, 180, "p1", "")
			time.Sleep(outsideRings + time.Second)
			p[0].want("CANCEL")
			p[0].reply(inv, 487, "p1", "")
		}, []int{0}, telephony.EndNoAnswer},
		{"it is cut while it rings", func(_ *stack, m *purse, a *phone, p []*phone, _ *dialogue, inv string) {
			p[0].reply(inv, 180, "p1", "")
			a.want("180")
			m.cut()
			a.want("480")
			p[0].want("CANCEL")
			p[0].reply(inv, 487, "p1", "")
		}, []int{0}, telephony.EndLimit},
		{"it is cut in the middle", func(_ *stack, m *purse, a *phone, p []*phone, d *dialogue, inv string) {
			talk(a, p[0], d, inv)
			m.cut()
			a.reply(a.want("BYE"), 200, "", "")
			p[0].reply(p[0].want("BYE"), 200, "", "")
			m.cut()
		}, []int{1}, telephony.EndLimit},
		{"the service closes", func(s *stack, _ *purse, a *phone, p []*phone, d *dialogue, inv string) {
			talk(a, p[0], d, inv)
			s.svc.Close()
		}, []int{1}, telephony.EndShutdown},
	} {
		t.Run(x.name, func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				money, s, f, a, _, p := paid(t, two())
				d := a.dial("00891234567", "v=0 offer-a")
				x.end(s, money, a, p, d, p[0].want("INVITE"))
				time.Sleep(time.Minute)
				synctest.Wait()
				if r := <-s.records; r.Reason != x.reason {
					t.Errorf("ended as %s, want %s", r.Reason, x.reason)
				}
				money.told(t, x.answered...)
				if last := money.meters[len(money.meters)-1]; x.answered[len(x.answered)-1] == 1 && (last.talked < 10*time.Second || last.talked > 50*time.Second) {
					t.Errorf("the meter ran for %s", last.talked)
				}
				f.idle(t)
			})
		})
	}
}

// TestACutFollowsTheLegThatCosts: who called the outside has sent it on to a
// colleague, blindly or after asking; the cut ends that call, and no other.
func TestACutFollowsTheLegThatCosts(t *testing.T) {
	for _, asked := range []bool{false, true} {
		t.Run(fmt.Sprint("after asking ", asked), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				money, s, f, a, b, p := paid(t, one())
				d := a.dial("00891234567", "v=0 offer-a")
				inv := p[0].want("INVITE")
				p[0].reply(inv, 200, "p1", "v=0 answer-p")
				p[0].want("ACK")
				d.learn(a.want("200"))
				d.request(sip.ACK, "")
				time.Sleep(10 * time.Second)
				if to := "<sip:102@a.test>"; asked {
					second, _ := talking(a, b)
					to = second.replacing("102")
					d.request(sip.REFER, "", "Refer-To: "+to)
				} else {
					d.request(sip.REFER, "", "Refer-To: "+to)
					inv = b.wantAmong("INVITE")
					b.reply(inv, 200, "b1", "v=0 answer-b")
				}
				settle(a, b, p[0])
				live := s.svc.Calls(1)
				if len(live) != 1 || live[0].Route.OutTrunk != 1 || live[0].Route.Account != "101" || f.live(1) != 1 {
					t.Fatalf("%+v, the trunk carries %d", live, f.live(1))
				}
				if m := money.meters[0]; m.answered != 1 || m.ended != 0 {
					t.Errorf("the meter was told of %d answers and %d ends by the transfer", m.answered, m.ended)
				}
				other := s.phone("103", 5103)
				inner := other.dial("104", "v=0 offer-c") // ends by itself: 104 is nowhere
				inner.refuseAck(other.want("480"))
				money.cut()
				byes := settle(a, b, p[0])
				if byes[p[0]] != 1 || byes[b] != 1 {
					t.Errorf("the trunk got %d BYE, the colleague %d", byes[p[0]], byes[b])
				}
				if left := s.svc.Calls(1); len(left) != 0 {
					t.Errorf("still live: %+v", left)
				}
				money.told(t, 1)
				if money.meters[0].talked < 10*time.Second {
					t.Errorf("the meter ran for %s", money.meters[0].talked)
				}
				f.idle(t)
			})
		})
	}
}

// wantAmong is the first message that begins so, whatever comes before it.
func (p *phone) wantAmong(start string) string {
	p.t.Helper()
	for {
		if m := p.next(); strings.HasPrefix(m, start) {
			return m
		}
	}
}

// settle has phones agree to everything for a while, and counts the BYEs of each.
func settle(phones ...*phone) map[*phone]int {
	byes := map[*phone]int{}
	for range 20 {
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		for _, p := range phones {
			for _, m := range p.drain() {
				switch method, _, _ := strings.Cut(m, " "); method {
				case sip.BYE:
					byes[p]++
					p.reply(m, 200, "", "")
				case sip.INVITE:
					p.reply(m, 200, "", "v=0 again-"+p.user)
				case "NOTIFY":
					p.reply(m, 200, "", "")
				}
			}
		}
	}
	return byes
}
