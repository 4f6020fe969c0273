package dialog

import (
	"testing"
	"time"

	"ringfence/internal/sip"
)

// TestLooseRoute: lr is a parameter of the URI, and nothing else counts as it
// (RFC 3261 sections 19.1.1 and 12.2.1.1).
func TestLooseRoute(t *testing.T) {
	t.Parallel()
	for route, want := range map[string]string{ // the strict router's URI, "" if loose
		"<sip:p.test;lr>":                        "",
		"<sip:p.test;LR=on>;x=y":                 "",
		"<sip:p.test;transport=tcp;lr>":          "",
		"<sip:p.test>":                           "sip:p.test",
		"<sip:p.test;lrx>":                       "sip:p.test;lrx",
		"<sip:u;lr@p.test>":                      "sip:u;lr@p.test",
		`"a;lr" <sip:p.test;maddr=192.0.2.1>;lr`: "sip:p.test;maddr=192.0.2.1",
		"<sip:p.test?Subject=;lr>":               "sip:p.test",
		"nonsense":                               "",
		"<sip:p.test":                            "",
	} {
		uri, loose := looseRoute(route)
		if loose != (want == "") || !loose && uri != want {
			t.Errorf("%s: %q, loose %v; want %q", route, uri, loose, want)
		}
	}
}

func TestStrictRoute(t *testing.T) {
	t.Parallel()
	ep := sip.New(sip.Config{})
	t.Cleanup(func() { ep.Close() })
	y := NewLayer(ep, nil)
	l := y.Call(sip.Flow{}, "<sip:a@x>", "<sip:b@x>", "sip:b@phone", Params{Mailbox: &Mailbox{}, Routes: []string{"<sip:strict.test>;x=1", "<sip:loose.test;lr>"}})
	o := l.request(sip.BYE, 7)
	var routes []string
	for _, h := range o.Headers {
		if h.Name == "Route" {
			routes = append(routes, h.Value)
		}
	}
	if o.URI != "sip:strict.test" || len(routes) != 2 || routes[0] != "<sip:loose.test;lr>" || routes[1] != "<sip:b@phone>" {
		t.Errorf("%s with %q", o.URI, routes)
	}
	if len(l.routes) != 2 || l.routes[0] != "<sip:strict.test>;x=1" {
		t.Errorf("the route set changed: %q", l.routes)
	}
}

// TestSessionExpires reads what phones write.
func TestSessionExpires(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]struct {
		d         time.Duration
		refresher string
		ok        bool
	}{
		"1800":                        {1800 * time.Second, "", true},
		"90;refresher=uac":            {90 * time.Second, "uac", true},
		" 90 ; x=1 ; Refresher = UAS": {},
		"90 ;x=1; Refresher=UAS ":     {90 * time.Second, "uas", true},
		"":                            {}, "0": {}, "-5": {}, "x": {}, "99999999999": {}, "1.5": {},
	} {
		d, refresher, ok := sessionExpires(v)
		if ok != want.ok || ok && (d != want.d || refresher != want.refresher) {
			t.Errorf("%q: %v %q %v", v, d, refresher, ok)
		}
	}
}

// TestAgain: the waits of both sides do not meet (RFC 3261 section 14.1), and
// trying has an end.
func TestAgain(t *testing.T) {
	t.Parallel()
	for _, owner := range []bool{true, false} {
		for range 2000 {
			d, ok := again(&sip.Response{Code: 491}, owner)
			low, high := time.Duration(0), 2*time.Second
			if owner {
				low, high = 2100*time.Millisecond, 4*time.Second
			}
			if !ok || d < low || d > high || d%(10*time.Millisecond) != 0 {
				t.Fatalf("owner %v: %v", owner, d)
			}
		}
	}
	for _, r := range []*sip.Response{{Code: 488}, {Code: 500}, {Code: 500, Local: true}, {Code: 408}} {
		if _, ok := again(r, true); ok {
			t.Errorf("%d is final", r.Code)
		}
	}
	l := &Leg{box: &Mailbox{}}
	n := 0
	for l.Again(&sip.Response{Code: 491}, func() {}) {
		if n++; n > 100 {
			t.Fatal("for ever")
		}
	}
}
