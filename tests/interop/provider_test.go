package interop

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/apiclient"
	"ringfence/tests/netlab"
	"ringfence/tests/pbxproc"
)

// lines is a PBX, an extension's phone, and a network of providers.
type lines struct {
	pbx   *pbxproc.Process
	admin *apiclient.Client
	far   *netlab.Namespace
	phone *siptest.Phone // 101, sends 440 Hz
	world *siptest.Phone // sends 660 Hz, by way of the provider at .2
}

const (
	pbxAddr, firstAddr, secondAddr     = "198.51.100.1", "198.51.100.2", "198.51.100.3"
	phoneAddr, strangerAddr, worldAddr = "198.51.100.20", "198.51.100.66", "198.51.100.9"
	numberOut, numberIn                = "0030555000", "+49301235"
)

func newLines(t *testing.T, world ...func(*siptest.Config)) *lines {
	t.Helper()
	need(t, "kamailio")
	host, far := netlab.New(t, "line-pbx"), netlab.New(t, "line-far")
	there := []string{firstAddr + "/24", secondAddr + "/24", phoneAddr + "/24", strangerAddr + "/24", worldAddr + "/24"}
	if err := netlab.Join(host, "wan", []string{pbxAddr + "/24"}, far, "wan", there); err != nil {
		t.Fatal(err)
	}
	l := &lines{pbx: pbxproc.Start(t, host, pbxAddr), far: far}
	l.admin = l.pbx.Admin(t)
	l.phone = phoneIn(t, l.pbx, far, phoneAddr, l.pbx.Addr(ports.SIPUDP), ports.SIPUDP, "101", 440)
	registered(t, l.phone)
	l.world = outsider(t, far, worldAddr, netip.AddrPortFrom(netip.MustParseAddr(firstAddr), 5060), 660, world...)
	return l
}

// trunk makes one over the API and returns its number.
func makeTrunk(t *testing.T, admin *apiclient.Client, fields map[string]any) (id int64) {
	t.Helper()
	all := map[string]any{"options_seconds": 10, "identity": "pai", "caller_id": "+4930123", "media_security": "off"}
	maps.Copy(all, fields)
	var made struct {
		ID int64 `json:"id"`
	}
	if err := admin.Do(t.Context(), "POST", "/trunks", all, &made); err != nil {
		t.Fatal(err)
	}
	return made.ID
}

// routed is what an administrator does besides: the role of 101, the country, one rule for calls
// out by these trunks in this order, one for calls in that ring at 101.
func routed(t *testing.T, admin *apiclient.Client, trunks ...int64) {
	t.Helper()
	abroad(t, admin, "101")
	var routes []map[string]any
	for _, id := range trunks {
		routes = append(routes, map[string]any{"trunk": id})
	}
	for _, step := range []struct {
		method, path string
		in           map[string]any
	}{
		{"PATCH", "/numbering", map[string]any{"country": "DE", "area_code": "30", "outside": "0"}},
		{"POST", "/outbound-rules", map[string]any{"name": "All", "routes": routes}},
		{"POST", "/inbound-rules", map[string]any{"name": "All", "open": map[string]any{"kind": "extension", "number": "101"}}},
	} {
		if err := admin.Do(t.Context(), step.method, step.path, step.in, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// abroad gives the user of an extension the role that may call everywhere.
func abroad(t *testing.T, admin *apiclient.Client, extension string) {
	t.Helper()
	var list struct {
		Items []struct {
			ID        int64
			Extension string
		}
	}
	if err := admin.Do(t.Context(), "GET", "/users", nil, &list); err != nil {
		t.Fatal(err)
	}
	for _, u := range list.Items {
		if u.Extension == extension {
			if err := admin.Do(t.Context(), "PATCH", "/users/"+strconv.FormatInt(u.ID, 10), map[string]any{"role": "standard_international"}, nil); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("nobody has %s: %+v", extension, list.Items)
}

// untilTrunk waits until a trunk is in a condition.
func untilTrunk(t *testing.T, admin *apiclient.Client, id int64, want string) {
	t.Helper()
	var list struct {
		Items []struct {
			Trunk             int64
			Condition, Reason string
		}
	}
	for limit := time.Now().Add(30 * time.Second); time.Now().Before(limit); time.Sleep(50 * time.Millisecond) {
		if err := admin.Do(t.Context(), "GET", "/trunks/states", nil, &list); err != nil {
			t.Fatal(err)
		}
		for _, s := range list.Items {
			if s.Trunk == id && s.Condition == want {
				return
			}
		}
	}
	t.Fatalf("trunk %d is not %s: %+v", id, want, list.Items)
}

func accountTrunk(host string, more map[string]any) map[string]any {
	fields := map[string]any{
		"name": host, "kind": "register", "host": host, "port": 5060, "user": account, "password": password, "dialled_in": "to",
		"dids": []map[string]string{{"first": "+49301230", "last": "+49301239"}},
	}
	maps.Copy(fields, more)
	return fields
}

// A provider's Kamailio challenges REGISTER and INVITE: a wrong password is told
// as such, with the right one calls go out and come in with audio both ways.
func TestKamailioAsAProviderOfAccounts(t *testing.T) {
	t.Parallel()
	l := newLines(t)
	startKamailio(t, l.far, firstAddr, accounts(l.world.Addr()))
	id := makeTrunk(t, l.admin, accountTrunk(firstAddr, map[string]any{"password": "mistyped-" + password}))
	routed(t, l.admin, id)
	untilTrunk(t, l.admin, id, "refused")
	if err := l.admin.Do(t.Context(), "PATCH", "/trunks/"+strconv.FormatInt(id, 10), map[string]any{"password": password}, nil); err != nil {
		t.Fatal(err)
	}
	untilTrunk(t, l.admin, id, "up")
	l.bothWays(t)
}

// bothWays calls out and in; either side hears the other, and a call record of
// each says so.
func (l *lines) bothWays(t *testing.T) {
	t.Helper()
	_, there := converse(t, l.phone, l.world, numberOut, 440, 660)
	if from := there.From(); from != "+4930123" {
		t.Errorf("the outside is told that %q calls", from)
	}
	_, here := converse(t, l.world, l.phone, numberIn, 660, 440)
	if from := here.From(); from != "+4930555000" {
		t.Errorf("101 is told that %q calls", from)
	}
	list := records(t, l.admin, 2)
	if len(list) != 2 {
		t.Errorf("%d call records, want 2", len(list))
	}
	for _, r := range list {
		if r.Status != 200 || r.Answered == "" || r.Reason != "caller_hung_up" {
			t.Errorf("call record %+v", r)
		}
	}
}

// A provider's Kamailio that is known by its address, and knows us by ours: calls
// go both ways without a challenge, and not from another address.
func TestKamailioAsAProviderOfAddresses(t *testing.T) {
	t.Parallel()
	l := newLines(t, func(c *siptest.Config) { c.Suites, c.Insists = []string{suite128}, true })
	us := l.pbx.Addr(ports.SIPUDP)
	startKamailio(t, l.far, firstAddr, addresses(l.world.Addr(), us))
	id := makeTrunk(t, l.admin, map[string]any{
		"name": "Peer", "kind": "peer", "host": firstAddr, "port": 5060, "media_security": "require", "dids": []map[string]string{{"first": "+49301230", "last": "+49301239"}},
	})
	routed(t, l.admin, id)
	untilTrunk(t, l.admin, id, "up")
	l.bothWays(t)

	stranger := outsider(t, l.far, strangerAddr, us, 880)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	forged, err := stranger.CallWith(ctx, "sip:"+numberIn+"@"+us.String(), siptest.CallOptions{From: "sip:+4930555000@" + firstAddr})
	if err != nil {
		t.Fatal(err)
	}
	_ = forged.Wait(ctx, siptest.Ended)
	if got := began(stranger, false, "SIP/2.0 407"); forged.Status() == 200 || got == 0 {
		t.Errorf("a stranger got %d and %d challenges", forged.Status(), got)
	}
	if n := began(l.world, false, "SIP/2.0 407"); n != 0 {
		t.Errorf("the provider was challenged %d times", n)
	}
	if rang := began(l.phone, false, "INVITE "); rang != 1 {
		t.Errorf("101 was called %d times, want once by the provider", rang)
	}
}

// began counts messages of a phone that begin so.
func began(p *siptest.Phone, out bool, start string) (n int) {
	for _, m := range p.Trace() {
		if m.Out == out && strings.HasPrefix(m.Text, start) {
			n++
		}
	}
	return n
}

// A branch office's Kamailio registers with the PBX through a NAT, naming its
// private address: before that it makes no calls, then calls go to it on its flow,
// and come from it.
func TestKamailioAsAGatewayBehindNAT(t *testing.T) {
	t.Parallel()
	need(t, "kamailio")
	h := newHome(t)
	admin, us := h.pbx.Admin(t), h.pbx.Addr(ports.SIPUDP)
	phone := phoneIn(t, h.pbx, h.host, "198.51.100.1", us, ports.SIPUDP, "101", 440)
	registered(t, phone)
	id := makeTrunk(t, admin, map[string]any{
		"name": "Branch", "kind": "accept", "user": branch, "password": password, "dids": []map[string]string{{"first": "+49301230", "last": "+49301239"}},
	})
	routed(t, admin, id)
	untilTrunk(t, admin, id, "down")
	own := netip.MustParseAddrPort("192.168.77.10:5060")
	world := outsider(t, h.inner, "192.168.77.11", own, 660)
	early := siptest.NewPhone(t, siptest.Config{
		Server: us, User: branch, Password: password, Domain: h.pbx.Extension("101").Domain, ViaServer: true,
		Listen: netip.MustParseAddrPort("192.168.77.11:0"), ListenUDP: h.inner.ListenUDP,
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	call, err := early.Call(ctx, numberIn)
	if err != nil {
		t.Fatal(err)
	}
	if _ = call.Wait(ctx, siptest.Ended); call.Status() != 403 {
		t.Errorf("a gateway that is not registered got %d", call.Status())
	}
	startKamailio(t, h.inner, "192.168.77.10", gateway(t, own, world.Addr(), us, h.pbx.Extension("101").Domain))
	untilTrunk(t, admin, id, "up")
	l := &lines{pbx: h.pbx, admin: admin, phone: phone, world: world}
	l.bothWays(t)
}

// A provider's Kamailio falls silent or dies: the next call rings by way of the
// other trunk of the rule in less than 4 s, which is less than anybody waits.
func TestCallsTakeTheOtherKamailio(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]syscall.Signal{"stopped": syscall.SIGSTOP, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLines(t)
			first := startKamailio(t, l.far, firstAddr, accounts(l.world.Addr()))
			startKamailio(t, l.far, secondAddr, accounts(l.world.Addr()))
			one := makeTrunk(t, l.admin, accountTrunk(firstAddr, nil))
			two := makeTrunk(t, l.admin, accountTrunk(secondAddr, map[string]any{"dids": []map[string]string{}}))
			routed(t, l.admin, one, two)
			untilTrunk(t, l.admin, one, "up")
			untilTrunk(t, l.admin, two, "up")
			l.rings(t, firstAddr)
			first.signal(t, sig)
			if took := l.rings(t, secondAddr); took > 8*time.Second {
				t.Errorf("rings after %s", took)
			}
			untilTrunk(t, l.admin, one, "down")
		})
	}
}

// rings has 101 call out, checks by way of which provider it rings, and says how
// long that took; both hear each other.
func (l *lines) rings(t *testing.T, by string) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	dialled := time.Now()
	out, err := l.phone.Call(ctx, numberOut)
	if err != nil {
		t.Fatal(err)
	}
	in, err := l.world.WaitCall(ctx)
	if err != nil {
		t.Fatalf("%v; the caller got %d", err, out.Status())
	}
	took := time.Since(dialled)
	t.Logf("rings by way of %s after %s", by, took)
	if !slices.ContainsFunc(in.Invite().GetHeaders("Record-Route"), func(h sip.Header) bool { return strings.Contains(h.Value(), by) }) {
		t.Errorf("rings not by way of %s:\n%s", by, in.Invite())
	}
	if err := in.Answer(); err != nil {
		t.Fatal(err)
	}
	hear(ctx, t, out, 660)
	hear(ctx, t, in, 440)
	if err := out.HangUp(); err != nil {
		t.Fatal(err)
	}
	if err := in.Wait(ctx, siptest.Ended); err != nil {
		t.Fatal(err)
	}
	return took
}
