package interop

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/tests/apiclient"
)

// movedPort is where these drills put the portal.
const movedPort = 9443

// tried is what the answer to a change says that waits to be confirmed.
type tried struct {
	ID          string
	SecondsLeft int `json:"seconds_left"`
	Where       string
}

// drill is an administrator who shuts himself out of a PBX behind the real
// packet filter.
type drill struct {
	fenced
	t      *testing.T
	portal ports.Service
}

func startDrill(t *testing.T) *drill {
	row, _ := ports.Lookup(ports.Table(), ports.Portal)
	return &drill{startFenced(t), t, row}
}

// change makes a change that is to be tried for some seconds.
func (d *drill) change(method, path string, in any, seconds int) tried {
	d.t.Helper()
	var out struct{ Trial *tried }
	if err := d.api.Do(d.t.Context(), method, fmt.Sprintf("%s?confirm_seconds=%d", path, seconds), in, &out); err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	if out.Trial == nil || out.Trial.ID == "" || out.Trial.SecondsLeft != seconds {
		d.t.Fatalf("%s %s is not tried: %+v", method, path, out.Trial)
	}
	return *out.Trial
}

// portalRow is the portal's row with one thing changed.
func (d *drill) portalRow(key string, value any) map[string]any {
	row := map[string]any{"enabled": true, "port": d.portal.First, "zones": d.portal.Zones, "sources": []string{}, "anyway": true}
	row[key] = value
	return row
}

// waits says what becomes of the portal on a port, and after how long.
func (d *drill) waits(what, state string, port uint16, limit time.Duration) {
	d.t.Helper()
	began := time.Now()
	for d.dial(d.t, port) != state {
		if time.Since(began) > limit {
			d.t.Fatalf("%s: port %d is %s after %s, not %s", what, port, d.dial(d.t, port), limit, state)
		}
		time.Sleep(50 * time.Millisecond)
	}
	d.t.Logf("%s: port %d is %s after %.1f s", what, port, state, time.Since(began).Seconds())
}

// anew is an administrator's client with connections of its own, to a port.
func (d *drill) anew(port uint16) *apiclient.Client {
	c := apiclient.New("https://"+netip.AddrPortFrom(d.addr, port).String(), "", from(d.outside, "10.77.0.3"))
	c.Token = d.api.Token
	return c
}

func confirm(ctx context.Context, c *apiclient.Client, id string) error {
	return c.Do(ctx, http.MethodPost, "/settings/trial/confirm", map[string]string{"id": id}, nil)
}

// login makes the client of the old address usable again.
func (d *drill) login(port uint16) {
	d.t.Helper()
	d.api = d.anew(port)
	who := apiclient.DefaultSetup()
	if err := d.api.Login(d.t.Context(), who.Name, who.Password); err != nil {
		d.t.Fatal(err)
	}
}

// actions are the latest entries of the audit log, the newest first.
func (d *drill) actions(n int) string {
	d.t.Helper()
	var log struct{ Items []struct{ Action string } }
	if err := d.api.Do(d.t.Context(), http.MethodGet, "/audit", nil, &log); err != nil {
		d.t.Fatal(err)
	}
	var out []string
	for _, e := range log.Items[:min(n, len(log.Items))] {
		out = append(out, e.Action)
	}
	return strings.Join(out, " ")
}

// Windows of drills: soon is the shortest there is.
const (
	soon  = 10
	later = 300
	limit = 20 * time.Second
)

// An administrator blocks the own network, is asked back and does so anyway.
func TestOwnNetworkBlockedReturns(t *testing.T) {
	t.Parallel()
	d := startDrill(t)
	d.change(http.MethodPost, "/security/addresses", map[string]any{"network": "10.77.0.2/31", "action": "block", "anyway": true}, soon)
	d.waits("the own network blocked", "silent", d.portal.First, limit)
	d.waits("nobody confirmed", "open", d.portal.First, limit)
	d.login(d.portal.First)
	var list struct{ Total int }
	if err := d.api.Do(t.Context(), http.MethodGet, "/security/addresses", nil, &list); err != nil || list.Total != 0 {
		t.Errorf("%d rules, %v", list.Total, err)
	}
	if got := d.actions(3); got != "session.login settings.take_back settings.try" {
		t.Errorf("audit log: %s", got)
	}
}

// The portal is for other sources than the administrator thought.
func TestWrongSourcesOfThePortalReturn(t *testing.T) {
	t.Parallel()
	d := startDrill(t)
	d.change(http.MethodPut, "/ports/portal", d.portalRow("sources", []string{"198.51.100.0/24"}), soon)
	d.waits("wrong sources", "silent", d.portal.First, limit)
	d.waits("nobody confirmed", "open", d.portal.First, limit)
	// So it is when the process that should take it back is dead: the packet
	// filter returns by itself, and the settings when it is back.
	d.login(d.portal.First)
	d.change(http.MethodPut, "/ports/portal", d.portalRow("sources", []string{"198.51.100.0/24"}), soon)
	d.waits("wrong sources", "silent", d.portal.First, limit)
	d.pbx.Stop(syscall.SIGKILL)
	d.waits("the fence alone", "refused", d.portal.First, limit)
	d.pbx.Restart(t)
	d.waits("after the restart", "open", d.portal.First, limit)
	time.Sleep(time.Second) // a policy that came with the connection would be there
	d.waits("and then", "open", d.portal.First, limit)
}

// The portal moves and nobody comes; it moves and is killed; it moves and is
// confirmed, by a new connection only.
func TestMovedPortalReturnsUnlessConfirmed(t *testing.T) {
	t.Parallel()
	d := startDrill(t)
	old := d.portal.First
	move := func(seconds int) tried {
		t.Helper()
		c := d.change(http.MethodPut, "/ports/portal", d.portalRow("port", movedPort), seconds)
		if want := "https://" + netip.AddrPortFrom(d.addr, movedPort).String(); c.Where != want {
			t.Errorf("the portal is said to be at %s, want %s", c.Where, want)
		}
		d.waits("moved", "open", movedPort, limit)
		d.waits("moved", "silent", old, limit)
		return c
	}
	back := func(what string) {
		t.Helper()
		d.waits(what, "open", old, limit)
		d.waits(what, "silent", movedPort, limit)
		d.login(old)
	}
	move(soon)
	back("nobody came")
	move(later)
	d.pbx.Stop(syscall.SIGKILL)
	d.pbx.Restart(t)
	back("killed in the window")

	c := move(later)
	if err := confirm(t.Context(), d.anew(movedPort), "guess"); apiclient.Status(err) != http.StatusConflict {
		t.Errorf("confirmed by a guess: %v", err)
	}
	if err := confirm(t.Context(), d.anew(movedPort), c.ID); err != nil {
		t.Fatal(err)
	}
	d.pbx.Stop(syscall.SIGKILL)
	d.pbx.Restart(t)
	d.waits("kept over a restart", "open", movedPort, limit)
	d.login(movedPort)

	// The connection that brought a change proves nothing.
	var p map[string]any
	if err := d.api.Do(t.Context(), http.MethodGet, "/security/protection", nil, &p); err != nil {
		t.Fatal(err)
	}
	p["level1"] = 400
	c = d.change(http.MethodPut, "/security/protection", p, later)
	time.Sleep(time.Second) // it is in effect
	if err := confirm(t.Context(), d.api, c.ID); apiclient.Status(err) != http.StatusConflict {
		t.Errorf("confirmed by the connection that brought the change: %v", err)
	}
	d.becomes(t, func() bool { return confirm(t.Context(), d.api, c.ID) == nil })
	if got := d.actions(2); got != "settings.keep settings.try" {
		t.Errorf("audit log: %s", got)
	}
}
