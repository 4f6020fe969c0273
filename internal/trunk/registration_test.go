package trunk

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/telephony"
)

func TestTrunkRegistersAndRefreshesInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, provider())
		defer l.close()
		first, _ := l.twoServers()
		l.serve(first, registering(300))
		l.reconcile()
		st := l.is(telephony.TrunkUp)
		if left := time.Until(st.Registered); left < 299*time.Second || left > 300*time.Second || !strings.Contains(st.Target, "one.provider.test (198.51.100.1:5060)") {
			t.Errorf("registered for %s with %s", left, st.Target)
		}
		got := l.got("REGISTER")
		if len(got) != 2 || got[0].header("Authorization") != "" || got[1].header("CSeq") != "2 REGISTER" || got[1].header("Call-ID") != got[0].header("Call-ID") {
			t.Fatalf("%d requests: %+v", len(got), got)
		}
		for name, want := range map[string]string{
			"To": "<sip:4930123@provider.test>", "Expires": "600", "Contact": "<sip:t", "Authorization": `username="4930123"`,
		} {
			if v := got[1].header(name); !strings.Contains(v, want) {
				t.Errorf("%s: %s", name, v)
			}
		}
		if !strings.HasPrefix(got[1].raw, "REGISTER sip:provider.test SIP/2.0") || !strings.Contains(got[1].header("Contact"), "@192.0.2.1:5060>") {
			t.Error(got[1].raw)
		}
		l.forget()
		time.Sleep(149 * time.Second)
		if n := len(l.got("REGISTER")); n != 0 {
			t.Errorf("refreshed %d times before half of the time", n)
		}
		time.Sleep(32 * time.Second)
		got = l.got("REGISTER")
		if len(got) != 1 || !strings.Contains(got[0].header("Authorization"), "nc=00000002") {
			t.Errorf("%d refreshes with a nonce that is known", len(got))
		}
		l.is(telephony.TrunkUp)
		l.forget()
		l.close()
		got = l.got("REGISTER")
		if len(got) != 1 || got[0].header("Expires") != "0" || !strings.HasSuffix(got[0].header("Contact"), ";expires=0") {
			t.Errorf("not un-registered at the end: %+v", got)
		}
	})
}

func TestTrunkThatIsSwitchedOffUnregisters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := provider()
		l := newLab(t, x)
		defer l.close()
		first, _ := l.twoServers()
		l.serve(first, registering(300))
		l.reconcile()
		l.is(telephony.TrunkUp)
		l.forget()
		// What does not change the way changes nothing about the registration.
		x.MaxCalls, x.Name, x.DIDs = 3, "Other name", []telephony.NumberRange{{First: "+4930123"}}
		l.set(x)
		l.reconcile()
		time.Sleep(10 * time.Second)
		if n := len(l.got("REGISTER")); n != 0 {
			t.Errorf("%d REGISTERs for a new name", n)
		}
		if st := l.is(telephony.TrunkUp); st.Name != "Other name" || st.MaxCalls != 3 {
			t.Errorf("%+v", st)
		}
		x.Enabled = false
		l.set(x)
		l.reconcile()
		if got := l.got("REGISTER"); len(got) != 1 || got[0].header("Expires") != "0" {
			t.Errorf("%+v", got)
		}
		l.is(telephony.TrunkOff)
		if _, err := l.Take(1, 7, false); err == nil {
			t.Error("a trunk that is off takes calls")
		}
	})
}

func TestTrunkTakesALongerIntervalIfItMust(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, provider())
		defer l.close()
		first, _ := l.twoServers()
		inner := registering(1800)
		l.serve(first, func(r request) answer {
			if a := inner(r); a.code == 200 && r.header("Expires") == "600" {
				return answer{423, []string{"Min-Expires: 1800"}}
			} else {
				return a
			}
		})
		l.reconcile()
		l.is(telephony.TrunkUp)
		got := l.got("REGISTER")
		if len(got) != 3 || got[2].header("Expires") != "1800" {
			t.Errorf("%d requests", len(got))
		}
	})
}

func TestTrunkTakesTheNextServerAndComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, provider())
		defer l.close()
		first, second := l.twoServers()
		var busy atomic.Bool
		busy.Store(true)
		inner := registering(300)
		l.serve(first, func(r request) answer {
			if busy.Load() {
				return answer{503, []string{"Retry-After: 60 (maintenance)"}}
			}
			return inner(r)
		})
		l.serve(second, registering(300))
		l.reconcile()
		if st := l.is(telephony.TrunkUp); !strings.Contains(st.Target, "two.provider.test") {
			t.Errorf("registered with %s", st.Target)
		}
		n := len(l.got("REGISTER"))
		l.forget()
		time.Sleep(58 * time.Second)
		for _, r := range append(l.got("REGISTER"), l.got("OPTIONS")...) {
			if r.to == first {
				t.Errorf("%s to a server that said Retry-After", r.method)
			}
		}
		busy.Store(false)
		within(t, 30*time.Second, func() bool { return strings.Contains(l.States(1)[0].Target, "one.provider.test") })
		if w := l.Ways(1, 7); len(w) != 2 || w[0].Key != first || w[0].Contact == "" || w[0].Auth == nil || w[0].Host != "provider.test" {
			t.Errorf("ways: %+v (%d before)", w, n)
		}
	})
}

// TestTrunkIsBackInFourSecondsWhenAServerIsCut: the server dies without a word; a
// call that gets no answer tells of it.
func TestTrunkIsBackInFourSecondsWhenAServerIsCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, provider())
		defer l.close()
		first, second := l.twoServers()
		l.serve(first, registering(300))
		l.serve(second, registering(300))
		l.reconcile()
		l.is(telephony.TrunkUp)
		l.serve(first, nil)
		ways := l.Ways(1, 7)
		if len(ways) != 2 || ways[0].Key != first {
			t.Fatalf("%+v", ways)
		}
		l.Answered(ways[0], 408)
		synctest.Wait()
		if w := l.Ways(1, 7); w[0].Key != second {
			t.Error("the next call would wait for the dead server too")
		}
		took := within(t, 4*time.Second, func() bool { return strings.Contains(l.States(1)[0].Target, "two.provider.test") })
		if l.Down(1, 7) {
			t.Error("down in between")
		}
		t.Logf("registered with the second server %s after the call that failed", took)
		// Nobody calls: OPTIONS finds out.
		l.serve(second, nil)
		l.serve(first, registering(300))
		took = within(t, time.Minute, func() bool { return strings.Contains(l.States(1)[0].Target, "one.provider.test") })
		t.Logf("found out by OPTIONS in %s", took)
	})
}

func TestRefusedCredentialsAreTriedSeldom(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"challenged again", "403", "no password"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				x := provider()
				if how == "no password" {
					x.Password = ""
				}
				l := newLab(t, x)
				defer l.close()
				first, second := l.twoServers()
				var n atomic.Int32
				var good atomic.Bool
				inner := registering(300)
				refuse := func(r request) answer {
					switch {
					case r.method != "REGISTER":
						return answer{code: 200}
					case good.Load():
						return inner(r)
					case how == "403" && r.header("Authorization") != "":
						return answer{code: 403}
					}
					return answer{401, []string{fmt.Sprintf(`WWW-Authenticate: Digest realm="provider.test", nonce="x%d", qop="auth"`, n.Add(1))}}
				}
				l.serve(first, refuse)
				l.serve(second, refuse)
				l.reconcile()
				if st := l.is(telephony.TrunkRefused); st.Reason == "" {
					t.Error("no reason")
				}
				if !l.Down(1, 7) {
					t.Error("carries calls")
				}
				few := len(l.got("REGISTER"))
				time.Sleep(9 * time.Minute)
				if more := len(l.got("REGISTER")); few > 2 || more != few {
					t.Errorf("%d tries, then %d", few, more)
				}
				if how != "no password" {
					good.Store(true)
					time.Sleep(2 * time.Minute)
					l.is(telephony.TrunkUp)
				}
			})
		})
	}
}

func TestTrunkRegistersAnewWhenOurAddressChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, provider())
		defer l.close()
		first, _ := l.twoServers()
		l.serve(first, registering(300))
		l.reconcile()
		l.is(telephony.TrunkUp)
		l.forget()
		l.network.mu.Lock()
		l.public = netip.MustParseAddr("203.0.113.9")
		l.network.mu.Unlock()
		within(t, 6*time.Second, func() bool { return len(l.got("REGISTER")) > 0 })
		if c := l.got("REGISTER")[0].header("Contact"); !strings.Contains(c, "@203.0.113.9:5060>") {
			t.Error(c)
		}
	})
}

func TestTrunkFollowsRedirectionOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, provider())
		defer l.close()
		first, second := l.twoServers()
		l.serve(first, func(r request) answer {
			return answer{302, []string{"Contact: <sip:198.51.100.9:5080>"}}
		})
		l.serve("198.51.100.9:5080", registering(300))
		l.serve(second, func(request) answer { return answer{code: 404} })
		l.reconcile()
		if st := l.is(telephony.TrunkUp); !strings.Contains(st.Target, "198.51.100.9:5080") {
			t.Errorf("registered with %s", st.Target)
		}
	})
}

func TestTrunkIsNotSentToTheMetadataService(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, provider())
		defer l.close()
		for _, evil := range []string{"169.254.169.254", "127.0.0.1", "0.0.0.0", "224.0.0.1"} {
			l.dns.addrs["provider.test"] = append(l.dns.addrs["provider.test"], netip.MustParseAddr(evil))
		}
		l.reconcile()
		time.Sleep(time.Minute)
		if st := l.is(telephony.TrunkDown); !strings.Contains(st.Reason, "not allowed") || len(l.got("REGISTER")) != 0 {
			t.Errorf("%s; %d requests", st.Reason, len(l.got("REGISTER")))
		}
	})
}

func TestTrunkFollowsDNS(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, provider())
		defer l.close()
		l.dns.ttl = time.Minute
		l.dns.addrs["provider.test"] = []netip.Addr{netip.MustParseAddr("198.51.100.1")}
		for _, a := range []string{"198.51.100.1:5060", "198.51.100.2:5060"} {
			l.serve(a, registering(3600))
		}
		l.reconcile()
		l.is(telephony.TrunkUp)
		l.dns.mu.Lock()
		l.dns.fail = fmt.Errorf("name server is down")
		l.dns.mu.Unlock()
		time.Sleep(2 * time.Minute)
		l.is(telephony.TrunkUp) // with what was known
		l.dns.mu.Lock()
		l.dns.fail = nil
		l.dns.addrs["provider.test"] = []netip.Addr{netip.MustParseAddr("198.51.100.2")}
		l.dns.mu.Unlock()
		within(t, 2*time.Minute, func() bool { return strings.HasSuffix(l.States(1)[0].Target, "(198.51.100.2:5060)") })
		if !l.Knows(netip.MustParseAddr("198.51.100.2")) || l.Knows(netip.MustParseAddr("198.51.100.1")) {
			t.Error("old servers are known, or new ones not")
		}
	})
}
