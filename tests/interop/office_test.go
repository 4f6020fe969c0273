package interop

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"ringfence/internal/siptest"
)

// Nobody who does what phones and administrators do is banned or loses a packet
// to the fence: an office of 200 phones that register within two seconds from
// one address and again from 200, 40 calls at once from one address, 60 MB up
// to the portal and a gigabyte down. RINGFENCE_DRILL makes it all of that; else
// it is a sample.
func TestNormalClientsAreNeverBanned(t *testing.T) {
	t.Parallel()
	phones, calls, talk, up, down := 60, 8, time.Second, 4<<20, 20<<20
	if os.Getenv("RINGFENCE_DRILL") != "" {
		phones, calls, talk, up, down = 200, 40, 20*time.Second, 60<<20, 1<<30
	}
	s := startSiege(t, true, 99)
	const many = "10.78.0.0/24"
	if err := s.office.IP("route", "add", "local", many, "dev", "lo"); err != nil {
		t.Fatal(err)
	}
	if err := s.host.IP("route", "add", many, "via", officeAdmin); err != nil {
		t.Fatal(err)
	}
	one := s.registerOffice(t, phones, func(int) string { return officeAddr })
	s.unharmed(t, "phones that register from one address")
	s.registerAgain(t, one)
	s.unharmed(t, "phones that register again from one address")
	s.talk(t, one, calls, talk)
	s.unharmed(t, "calls from one address")
	for _, p := range one {
		p.Close()
	}
	own := s.registerOffice(t, phones, func(i int) string { return fmt.Sprintf("10.78.0.%d", 1+i) })
	s.registerAgain(t, own)
	s.unharmed(t, "phones that register, each from its own address")

	began := time.Now()
	comment := "#" + strings.Repeat("x", 1<<16-2) + "\n"
	for sent := 0; sent < up; {
		text := strings.Repeat(comment, min(up-sent, 12<<20)>>16+1) + "192.0.2.1,allow\n"
		if err := s.api.Do(t.Context(), http.MethodPost, "/security/addresses/csv", map[string]any{"csv": text}, nil); err != nil {
			t.Fatal(err)
		}
		sent += len(text)
	}
	t.Logf("%d MB up in %v", up>>20, time.Since(began))
	if err := s.api.Do(t.Context(), http.MethodPost, "/security/addresses/csv", map[string]any{"csv": mixedList(50_000)}, nil); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	for got := 0; got < down; {
		_, text, err := s.api.Get(t.Context(), "/api/v1/security/addresses/csv")
		if err != nil || len(text) < 1_000_000 {
			t.Fatalf("the list is %d bytes long: %v", len(text), err)
		}
		got += len(text)
	}
	t.Logf("%d MB down in %v", down>>20, time.Since(began))
	s.unharmed(t, "uploads and downloads")
	s.allowedMustProve(t)
	s.unharmed(t, "a flood of an allowed source")
}

// allowedMustProve has a source on the list of those that are always let in
// send a flood and guess passwords: it is not banned, and not let in either.
func (s *siege) allowedMustProve(t *testing.T) {
	t.Helper()
	if err := s.api.Do(t.Context(), http.MethodPost, "/security/addresses", map[string]any{"network": attackerIP, "action": "allow"}, nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // in force
	flood := assaults()[2]
	rate := s.storm(t.Context(), t, flood, 3000, 2*time.Second)
	e := s.extensions[0]
	guess := func(password string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		p := siptest.NewPhone(t, siptest.Config{Server: s.at, User: e.SIPUser, Password: password, Domain: e.Domain,
			Listen: netip.MustParseAddrPort(attackerIP + ":0"), ListenUDP: s.attacker.ListenUDP})
		defer p.Close()
		return p.Register(ctx)
	}
	for i := range 60 { // 50 ban others
		if err := guess(fmt.Sprint("guess", i)); err == nil {
			t.Fatal("an allowed source registers with a wrong password")
		}
	}
	if err := guess(e.SIPPassword); err != nil {
		t.Errorf("after a flood of %.0f packets a second and 60 guesses an allowed source does not register: %v", rate, err)
	}
}

// registerOffice registers phones, two to an extension, within two seconds.
func (s *siege) registerOffice(t *testing.T, n int, addr func(int) string) []*siptest.Phone {
	t.Helper()
	var all []*siptest.Phone
	for i := range n {
		e := s.extensions[i%len(s.extensions)]
		all = append(all, siptest.NewPhone(t, siptest.Config{
			Server: s.at, User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain, AutoAnswer: true, Keep: -1,
			Listen: netip.AddrPortFrom(netip.MustParseAddr(addr(i)), 0), ListenUDP: s.office.ListenUDP,
		}))
	}
	s.registerAgain(t, all)
	return all
}

func (s *siege) registerAgain(t *testing.T, phones []*siptest.Phone) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	began := time.Now()
	var all sync.WaitGroup
	for i, p := range phones {
		all.Go(func() {
			time.Sleep(time.Duration(i) * 10 * time.Millisecond) // 200 in two seconds
			if err := p.Register(ctx); err != nil {
				t.Errorf("registering: %v", err)
			}
		})
	}
	all.Wait()
	t.Logf("%d phones registered in %v", len(phones), time.Since(began))
}

// talk has n phones call n others and talk, all at once.
func (s *siege) talk(t *testing.T, phones []*siptest.Phone, n int, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d+time.Minute)
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex
	heard, sent := 0, 0
	for i := range n {
		all.Go(func() {
			c, err := phones[i].Call(ctx, s.extensions[n+i].Number)
			if err == nil {
				err = c.Wait(ctx, siptest.Answered)
			}
			if err != nil {
				t.Errorf("call %d: %v", i, err)
				return
			}
			time.Sleep(d)
			mu.Lock()
			sent, heard = sent+c.Sent(), heard+c.Heard().Packets
			mu.Unlock()
			if err := c.HangUp(); err != nil {
				t.Errorf("call %d: %v", i, err)
			}
		})
	}
	all.Wait()
	t.Logf("%d calls at once: %d packets sent, %d heard", n, sent, heard)
}

// unharmed checks that the packet filter has dropped nothing of anybody's.
func (s *siege) unharmed(t *testing.T, what string) {
	t.Helper()
	out, err := s.host.Command(t.Context(), "nft", "list", "counters").CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	drops := regexp.MustCompile(`counter (drop_(?:ban|level|flood|known|block)\w*) \{\s+packets (\d+)`).FindAllStringSubmatch(string(out), -1)
	if len(drops) < 10 {
		t.Fatalf("%d counters of drops:\n%s", len(drops), out)
	}
	for _, d := range drops {
		if d[2] != "0" {
			t.Errorf("%s: %s is %s", what, d[1], d[2])
		}
	}
	s.unbanned(t)
}
