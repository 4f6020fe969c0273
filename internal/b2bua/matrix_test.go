package b2bua

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/dialplan"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

const (
	matrixCases  = 400
	matrixTrunks = 3
)

// dialled are numbers that people of Berlin dial, by their kind.
var dialled = map[telephony.CallClass][]string{
	telephony.ClassInternal:      {"102"},
	telephony.ClassLocal:         {"01234567", "00301234567", "+49301234567"},
	telephony.ClassNational:      {"00891234567", "+49891234567"},
	telephony.ClassMobile:        {"001701234567", "+491701234567"},
	telephony.ClassInternational: {"00043123456", "+4315551234"},
	telephony.ClassPremium:       {"009001234567", "+499001234567"},
	telephony.ClassEmergency:     {"112", "0112"},
	"disallowed":                 {"00041441234567", "+12125550123", "0089666123"},
}

// granted is what the roles of the matrix may dial, besides emergency numbers.
var granted = map[telephony.Role][]telephony.CallClass{
	telephony.RoleAdmin:         telephony.CallClasses(),
	telephony.RoleInternational: {telephony.ClassInternal, telephony.ClassLocal, telephony.ClassNational, telephony.ClassMobile, telephony.ClassInternational},
	telephony.RoleStandard:      {telephony.ClassInternal},
	"domestic":                  {telephony.ClassInternal, telephony.ClassLocal, telephony.ClassNational},
	"nothing":                   nil,
}

// matrixCase is one call, and all that decides where it goes.
type matrixCase struct {
	role    telephony.Role
	kind    telephony.CallClass
	number  string
	hidden  bool // Privacy: id
	sent    bool // 101 calls 102, who sends it on to the number
	zone    string
	trunks  []telephony.Trunk
	routing telephony.Routing
	full    []telephony.TrunkID
	down    []telephony.TrunkID
	answer  int // of every trunk
}

func pick[T any](random *rand.Rand, list ...T) T { return list[random.IntN(len(list))] }

// newMatrixCase is the same one for the same seed.
func newMatrixCase(seed uint64) matrixCase {
	random := rand.New(rand.NewPCG(seed, 7))
	kinds := append(telephony.CallClasses(), telephony.ClassEmergency, "disallowed")
	m := matrixCase{
		role: pick(random, telephony.RoleAdmin, telephony.RoleAdmin, telephony.RoleInternational, telephony.RoleStandard, "domestic", "nothing"),
		kind: kinds[seed%uint64(len(kinds))], hidden: random.IntN(4) == 0, sent: random.IntN(6) == 0,
		zone: pick(random, "UTC", "Asia/Tokyo", "America/Los_Angeles", "Europe/Berlin"), answer: pick(random, 503, 503, 486),
	}
	m.number = pick(random, dialled[m.kind]...)
	m.sent = m.sent && m.kind != telephony.ClassInternal && m.kind != telephony.ClassEmergency
	for id := range telephony.TrunkID(matrixTrunks) {
		m.trunks = append(m.trunks, newMatrixTrunk(random, id+1))
		switch random.IntN(8) {
		case 0:
			m.full = append(m.full, id+1)
		case 1:
			m.down = append(m.down, id+1)
		case 2:
			m.trunks[id].Enabled = id == 0
		}
	}
	m.routing = newMatrixRouting(random)
	return m
}

func newMatrixTrunk(random *rand.Rand, id telephony.TrunkID) telephony.Trunk {
	t := trunk(id)
	t.Format = pick(random, telephony.FormatPlus, telephony.FormatDigits, telephony.FormatNational, telephony.FormatDialled)
	t.Identity = pick(random, telephony.IdentityFrom, telephony.IdentityPAI, telephony.IdentityPPI, telephony.IdentityRPID)
	t.CallerID, t.User = pick(random, "", "+493022220", "+493055550"), pick(random, "", "acct")
	t.KeepCallerID = random.IntN(2) == 0
	t.Rates = []telephony.Rate{{Prefix: "49", Minute: telephony.Money(random.IntN(5) * 10_000)}, {Prefix: pick(random, "43", "4930"), Minute: 500_000}}
	for _, r := range []telephony.HeaderRule{
		{Name: "From", Value: "<sip:acct@provider.test>"}, {Name: "P-Asserted-Identity", Remove: true}, {Name: "Diversion", Remove: true},
		{Name: "X-Call", Value: "{caller};to={callee};by={trunk}"}, {Name: "P-Preferred-Identity", Value: "<sip:{caller}@provider.test>"},
		{Name: "Privacy", Value: "none"}, {Name: "X-Call", Value: "second"}, {Name: "X-In", Value: "{did}", Inbound: true},
	} {
		if random.IntN(6) == 0 {
			t.Headers = append(t.Headers, r)
		}
	}
	return t
}

// newMatrixRouting has up to four rules. It is Saturday, midnight UTC: in Los
// Angeles people are still at work.
func newMatrixRouting(random *rand.Rand) telephony.Routing {
	office := telephony.Schedule{Tenant: 1, Name: "office", Week: [7][]telephony.DaySpan{}}
	for day := time.Monday; day <= time.Friday; day++ {
		office.Week[day] = []telephony.DaySpan{{From: 8 * 60, To: 18 * 60}}
	}
	r := telephony.Routing{
		Plan: telephony.NumberingPlan{
			Country: "DE", AreaCode: "30", Outside: "0", Allowed: []string{"43", "1"}, Disallowed: []string{"1212", "4989666", "41"},
			Emergency: []telephony.EmergencyNumber{{Number: "112", Name: "rescue"}},
		},
		Schedules: []telephony.Schedule{office},
		Inbound: []telephony.InboundRule{{
			Tenant: 1, ID: 1, Name: "direct", Enabled: true, DIDs: []telephony.NumberRange{{First: "+4930222201", Last: "+4930222208"}},
			Open: telephony.Destination{Kind: telephony.ToDirect, Number: pick(random, "101", "102", "105")},
		}},
		MaxCalls: pick(random, 0, 0, 0, 0, 0, 1),
	}
	for id := range int64(1 + random.IntN(4)) {
		rule := telephony.OutboundRule{
			Tenant: 1, ID: id + 1, Name: fmt.Sprint("rule ", id), Enabled: random.IntN(8) > 0, Priority: 1 + random.IntN(3),
			Hours: pick(random, "", "", "office"), Order: pick(random, telephony.OrderListed, telephony.OrderCheapest, telephony.OrderRandom),
			Prefixes: pick(random, nil, nil, []string{"0", "1"}, []string{"+43", "+49"}),
		}
		if random.IntN(4) == 0 {
			rule.Roles = []telephony.Role{telephony.RoleAdmin, "domestic"}
		}
		if random.IntN(4) == 0 {
			rule.Classes = []telephony.CallClass{telephony.ClassLocal, telephony.ClassMobile, telephony.ClassPremium}
		}
		for range 1 + random.IntN(3) {
			rule.Routes = append(rule.Routes, telephony.Route{
				Trunk: telephony.TrunkID(1 + random.IntN(matrixTrunks)), Strip: pick(random, 0, 0, 2, 4, 15),
				Prepend: pick(random, "", "", "0", "+49", "*1#"), CallerID: pick(random, "", "", "+4930777"),
			})
		}
		r.Outbound = append(r.Outbound, rule)
	}
	return r
}

// configure puts the case in force.
func (m matrixCase) configure(s *stack, f *fakeTrunks) {
	old := s.snap.Load()
	extensions := slices.Clone(old.Extensions(1))
	for i, e := range extensions {
		extensions[i].Role, extensions[i].Handling = m.role, telephony.CallHandling{}
		if m.sent && e.Number == "102" {
			extensions[i].Handling.ForwardAlways = m.number
		}
	}
	roles := []telephony.RoleDefinition{{Tenant: 1, Name: "domestic", Classes: granted["domestic"]}, {Tenant: 1, Name: "nothing"}}
	trunks := slices.Clone(m.trunks)
	for i, t := range trunks {
		if slices.Contains(m.full, t.ID) {
			trunks[i].MaxCalls = 1
		}
	}
	s.snap.Store(telephony.NewSnapshot(old.Rev+1, old.Settings, []telephony.Tenant{{ID: 1, Domain: "a.test", TimeZone: m.zone}}, extensions).
		WithRouting(trunks, map[telephony.TenantID]telephony.Routing{1: m.routing}).WithRoles(roles))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = m.down
}

// request is what the dry run is asked for the same call.
func (m matrixCase) request(s *stack, number string, seed uint64) dialplan.Request {
	r := dialplan.Request{
		Tenant: 1, Dialled: number, At: time.Now(), Seed: seed, Explain: true,
		Down: func(id telephony.TrunkID) bool { return slices.Contains(m.down, id) },
	}
	account := "101"
	if m.sent && number == m.number {
		account, r.From = "102", "101"
	}
	r.Caller, _ = s.snap.Load().Extension(1, account)
	return r
}

// permitted is told by the tables above, not by the code that decides.
func (m matrixCase) permitted() bool {
	return m.kind == telephony.ClassEmergency || slices.Contains(granted[m.role], m.kind)
}

// TestTheDryRunIsTheInvite: whatever is set, the INVITEs that the trunks get are
// those that the dry run shows, in its order; what it refuses reaches nobody, and
// the caller is told its code; and 112 reaches a trunk.
func TestTheDryRunIsTheInvite(t *testing.T) {
	inTime(t, func(t *testing.T) {
		var seed uint64
		s, f, a, b := outer(t, one(), func(c *Config) {
			c.Route = func(snap *telephony.Snapshot, r dialplan.Request) dialplan.Plan {
				seed = r.Seed
				return dialplan.Resolve(snap, r)
			}
		}, nil)
		lab := &matrix{t: t, s: s, f: f, a: a, b: b, routed: &seed, seen: map[string]int{}}
		for id := range telephony.TrunkID(matrixTrunks) {
			lab.servers = append(lab.servers, s.provider(f, trunk(id+1), uint16(7001+id), nil))
		}
		for i := range uint64(matrixCases) {
			m := newMatrixCase(i)
			m.configure(s, f)
			lab.name = fmt.Sprintf("case %d, %s of %s", i, m.number, m.role)
			lab.check(m, m.number)
			lab.name += ", then 112"
			lab.check(m, "112")
		}
		if len(s.svc.Calls(1)) != 0 || s.media.open.Load() != 0 {
			t.Errorf("%d calls and %d media legs are left", len(s.svc.Calls(1)), s.media.open.Load())
		}
		for what, least := range map[string]int{"refused": 80, "outside": 60, "emergency": matrixCases, "next trunk": 8, "passed over": 10, "no room": 3, "sent on": 5, "withheld": 15, "extension": 20} {
			if lab.seen[what] < least {
				t.Errorf("only %d cases of %q: %v", lab.seen[what], what, lab.seen)
			}
		}
	})
}

// sentInvite is what a trunk got.
type sentInvite struct {
	trunk telephony.TrunkID
	raw   string
}

// matrix plays cases.
type matrix struct {
	t       *testing.T
	s       *stack
	f       *fakeTrunks
	a, b    *phone
	servers []*phone
	routed  *uint64 // the seed of the plan of the call
	name    string
	seen    map[string]int
}

func (l *matrix) complain(format string, args ...any) {
	l.t.Helper()
	l.t.Errorf("%s: %s", l.name, fmt.Sprintf(format, args...))
}

// check plays one call of a case and compares it with the dry run.
func (l *matrix) check(m matrixCase, number string) {
	for _, id := range m.full {
		release, _ := l.f.Take(1, id, true)
		defer release()
	}
	code, invites, rang := l.play(m, number)
	plan := dialplan.Resolve(l.s.snap.Load(), m.request(l.s, number, *l.routed))
	own := number == m.number
	switch {
	case own && !m.permitted() && plan.Outcome != dialplan.Refused:
		l.complain("the role does not have it, and the plan is %s", plan.Outcome)
	case own && m.sent && !slices.Contains(granted[m.role], telephony.ClassInternal):
		plan = dialplan.Plan{Outcome: dialplan.Refused, Refusal: dialplan.Refusal{Code: 403}} // it may not even call 102
	case own && m.sent && plan.Outcome == dialplan.Refused:
		plan.Refusal.Code = 480 // why is 102's business
	}
	switch plan.Outcome {
	case dialplan.Refused:
		l.seen["refused"]++
		if number == "112" || len(invites) > 0 || rang || code != plan.Refusal.Code {
			l.complain("refused with %d (%s): the caller got %d, the trunks %d INVITEs", plan.Refusal.Code, plan.Refusal.Reason, code, len(invites))
		}
	case dialplan.ToExtension:
		l.seen["extension"]++
		if len(invites) > 0 || !rang || code != 486 {
			l.complain("the caller got %d, 102 rang: %v, trunks got %d INVITEs", code, rang, len(invites))
		}
	default:
		l.compare(m, plan, code, invites)
	}
	if l.f.idleBut(m.full) != 0 {
		l.complain("trunks still count calls")
	}
}

// compare holds the INVITEs against the attempts that there was room for.
func (l *matrix) compare(m matrixCase, plan dialplan.Plan, code int, invites []sentInvite) {
	want := slices.DeleteFunc(slices.Clone(plan.Attempts), func(a dialplan.Attempt) bool {
		full := slices.Contains(m.full, a.Trunk) || m.routing.MaxCalls > 0 && len(m.full) >= m.routing.MaxCalls
		return full && !plan.Emergency
	})
	if len(want) < len(plan.Attempts) {
		l.seen["passed over"]++
	}
	verdict := m.answer
	switch {
	case len(want) == 0:
		l.seen["no room"]++
		verdict = 503
	case m.answer == 486 && !plan.Emergency:
		want = want[:1] // the callee is busy whatever the way
	}
	if len(want) > 1 && !plan.Emergency {
		l.seen["next trunk"]++
	}
	if code != verdict || len(invites) != len(want) || plan.Emergency && len(invites) == 0 {
		l.complain("the caller got %d, want %d; the trunks %d INVITEs, want %d", code, verdict, len(invites), len(want))
		return
	}
	for i, a := range want {
		t, _ := l.s.snap.Load().Trunk(1, a.Trunk)
		l.same(invites[i], t, a, m.hidden && !plan.Emergency)
		if a.Diversion != "" {
			l.seen["sent on"]++
		}
		if m.hidden {
			l.seen["withheld"]++
		}
	}
	if plan.Emergency {
		l.seen["emergency"]++
	}
	l.seen["outside"]++
}

// same compares one INVITE with the preview of an attempt.
func (l *matrix) same(got sentInvite, t telephony.Trunk, a dialplan.Attempt, hidden bool) {
	invite := got.raw
	if got.trunk != a.Trunk {
		l.complain("trunk %d got it, the dry run says %d", got.trunk, a.Trunk)
	}
	uri, headers := Preview(t, a, hidden)
	user := func(uri string) string { u, _, _ := strings.Cut(uri, "@"); return u }
	if user(requestURI(invite)) != user(uri) {
		l.complain("%s, the dry run says %s", requestURI(invite), uri)
	}
	shown := map[string][]string{}
	for _, h := range headers {
		shown[h.Name] = append(shown[h.Name], h.Value)
	}
	for _, name := range []string{"From", "To", "P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Privacy", "Diversion", "History-Info", "X-Call", "X-In"} {
		got := headersOf(invite, name)
		if name == "From" && len(got) == 1 {
			got[0], _, _ = strings.Cut(got[0], ";tag=")
		}
		if !slices.Equal(got, shown[name]) {
			l.complain("by %s %s is %q, the dry run says %q", t.Name, name, got, shown[name])
		}
	}
}

// headersOf are all headers of a name.
func headersOf(raw, name string) (out []string) {
	head, _, _ := strings.Cut(raw, "\r\n\r\n")
	for l := range strings.SplitSeq(head, "\r\n") {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.EqualFold(k, name) {
			out = append(out, strings.TrimSpace(v))
		}
	}
	return out
}

// play dials, refuses every INVITE, and returns what the caller was told, what
// trunks got in their order, and whether 102 rang.
func (l *matrix) play(m matrixCase, number string) (code int, invites []sentInvite, rang bool) {
	if m.sent && number == m.number {
		number = "102"
	}
	var extra []string
	if m.hidden {
		extra = []string{"Privacy: id"}
	}
	d := l.a.dial(number, "v=0 offer-a", extra...)
	for range 200 {
		synctest.Wait()
		for i, p := range l.servers {
			for _, raw := range p.drain() {
				if strings.HasPrefix(raw, sip.INVITE+" ") {
					invites = append(invites, sentInvite{telephony.TrunkID(i + 1), raw})
					p.reply(raw, m.answer, "p", "")
				}
			}
		}
		for _, raw := range l.b.drain() {
			if strings.HasPrefix(raw, sip.INVITE+" ") {
				rang = true
				l.b.reply(raw, 486, "b", "")
			}
		}
		for _, raw := range l.a.drain() {
			if n := atoi(raw[8:11]); n >= 200 {
				d.refuseAck(raw)
				synctest.Wait()
				return n, invites, rang
			}
		}
		if len(invites) > 50 {
			break
		}
	}
	l.t.Fatalf("%s: the caller is told nothing", l.name)
	return 0, nil, false
}

// drain is what came so far.
func (p *phone) drain() (out []string) {
	for len(p.in) > 0 {
		out = append(out, <-p.in)
	}
	return out
}
