package interop

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/apiclient"
)

// kernelBans is what the packet filter has in a set of banned sources.
func (f fenced) kernelBans(t *testing.T, set string) string {
	t.Helper()
	out, err := f.host.Command(t.Context(), "nft", "list", "table", "inet", "ringfence").CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	_, rest, found := strings.Cut(string(out), "set "+set+" {")
	if !found {
		t.Fatalf("no set %s:\n%s", set, out)
	}
	text, _, _ := strings.Cut(rest, "\n\t}")
	_, elements, _ := strings.Cut(text, "elements = ")
	return elements
}

// ban is one as the API lists it.
type ban struct {
	Source, Scope, Reason string
	Until                 time.Time
}

func (f fenced) bans(t *testing.T) []ban {
	t.Helper()
	var all struct{ Items []ban }
	if err := f.api.Do(t.Context(), http.MethodGet, "/security/bans", nil, &all); err != nil {
		t.Fatal(err)
	}
	return all.Items
}

// protect changes how attackers are told from phones, and waits until the packet
// filter has it.
func (f fenced) protect(t *testing.T, change map[string]any) {
	t.Helper()
	var p map[string]any
	if err := f.api.Do(t.Context(), http.MethodGet, "/security/protection", nil, &p); err != nil {
		t.Fatal(err)
	}
	delete(p, "$schema")
	maps.Copy(p, change)
	if err := f.api.Do(t.Context(), http.MethodPut, "/security/protection", p, nil); err != nil {
		t.Fatal(err)
	}
	f.settle(t)
}

// settle waits until every part runs the present settings.
func (f fenced) settle(t *testing.T) {
	t.Helper()
	f.becomes(t, func() bool {
		var s struct {
			Rev     uint64
			Applied []struct{ Rev uint64 }
		}
		if err := f.api.Do(t.Context(), http.MethodGet, "/status", nil, &s); err != nil {
			t.Fatal(err)
		}
		behind := len(s.Applied) == 0
		for _, a := range s.Applied {
			behind = behind || a.Rev < s.Rev
		}
		return !behind
	})
}

// guess registers n times with wrong passwords and returns how many were
// answered, each within a second.
func (f fenced) guess(t *testing.T, at netip.AddrPort, n int) (answered int) {
	t.Helper()
	phone := siptest.NewPhone(t, siptest.Config{
		Server: at, User: "101", Password: "wrong", Domain: apiclient.DefaultSetup().Domain, T1: 50 * time.Millisecond,
		Listen: netip.MustParseAddrPort("10.77.0.2:0"), ListenUDP: f.outside.ListenUDP,
	})
	defer phone.Close()
	for range n {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := phone.Register(ctx)
		late := ctx.Err() != nil
		cancel()
		switch {
		case err == nil:
			t.Fatal("a wrong password is taken")
		case late:
			return answered
		}
		answered++
	}
	return answered
}

// attackPaths are where scanners look for the files of phones.
func attackPaths() []string {
	paths := []string{"y000000000000.cfg", "000000000000.cfg", "aastra.cfg", "spa.xml", "SEPDefault.cnf.xml", "XMLDefault.cnf.xml", "snom.htm", "sip.cfg", "phone1.cfg", "config.cfg"}
	for i, model := range []string{"805ec0%06x.cfg", "0004f2%06x-phone.cfg", "cfg000b82%06x.xml", "SEP001122%06x.cnf.xml", "snom370-000413%06X.htm", "001565%06x.boot"} {
		for k := range 4 {
			paths = append(paths, fmt.Sprintf(model, 4096*i+k))
		}
	}
	return paths
}

// V02: scanners for the files of phones get equal answers, twenty of them, and
// then none; the packet filter closes the ports of provisioning to them. It is
// nobody's business but provisioning's.
func (f fenced) checkPhoneFiles(t *testing.T) {
	const scanner = "10.77.0.2"
	client := apiclient.New(f.pbx.Facts.Admin.URL, "", from(f.outside, scanner))
	answers := map[string]int{}
	silent := 0
	for i, name := range attackPaths() {
		prefix := "/provision/"
		if i%3 == 1 {
			prefix = "/provision/" + strings.Repeat("a", 26) + "/"
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		status, body, err := client.Get(ctx, prefix+name)
		cancel()
		if err != nil {
			silent++
			continue
		}
		if silent > 0 {
			t.Fatalf("%s is answered after silence", name)
		}
		answers[fmt.Sprint(status, string(body))]++
	}
	if len(answers) != 1 || answers["404not found\n"] != 20 || silent != len(attackPaths())-20 {
		t.Errorf("answers %v, then %d without", answers, silent)
	}
	f.becomes(t, func() bool { return strings.Contains(f.kernelBans(t, "auto_prov_4"), scanner) })
	if sip, web := f.kernelBans(t, "auto_sip_4"), f.kernelBans(t, "auto_web_4"); sip+web != "" {
		t.Errorf("banned on SIP %q, on the web %q", sip, web)
	}
	if all := f.bans(t); len(all) != 1 || all[0].Scope != "prov" || all[0].Source != scanner || all[0].Reason != "guessed provisioning paths" {
		t.Errorf("%+v", all)
	}
	if err := apiclient.New(f.pbx.Facts.Admin.URL, "", from(f.outside, scanner)).Login(t.Context(), apiclient.DefaultSetup().Name, apiclient.DefaultSetup().Password); err != nil {
		t.Errorf("the portal: %v", err)
	}
	udp, _ := ports.Lookup(ports.Table(), ports.SIPUDP)
	if !answersOptions(t, f.outside, scanner+":0", netip.AddrPortFrom(f.addr, udp.First), 2*time.Second) {
		t.Error("SIP is silent")
	}
	if err := f.api.Do(t.Context(), http.MethodDelete, "/security/bans?scope=prov&source="+url.QueryEscape(scanner), nil, nil); err != nil {
		t.Fatal(err)
	}
	f.becomes(t, func() bool { return f.kernelBans(t, "auto_prov_4") == "" })
	if status, _, err := client.Get(t.Context(), "/provision/y000000000000.cfg"); err != nil || status != http.StatusNotFound {
		t.Errorf("after the ban was taken back: %d, %v", status, err)
	}
}

// I01 and S05 with the real packet filter. Who is on the list of the portal
// floods and guesses unpunished, and gets no further than 401; taken off it, the
// same is banned. The ban ends at its time in the packet filter, in SIP and in
// the portal alike, also when both programs were restarted meanwhile and the
// packet filter forgot everything.
func (f fenced) checkTimes(t *testing.T) {
	udp, _ := ports.Lookup(ports.Table(), ports.SIPUDP)
	at := netip.AddrPortFrom(f.addr, udp.First)
	answers := func() bool { return answersOptions(t, f.outside, "10.77.0.2:0", at, silence) }
	const banned = 7 * time.Second
	f.protect(t, map[string]any{"wrong_answers": 10, "ban_seconds": int(banned.Seconds()), "level1": 100, "level1_ban_seconds": 2, "level2": 5000, "level2_ban_seconds": 3})
	list := func(method, path string, in any) {
		t.Helper()
		if err := f.api.Do(t.Context(), method, path, in, nil); err != nil {
			t.Fatal(err)
		}
		f.settle(t)
	}
	flood := func() {
		c, err := f.outside.ListenUDP(netip.MustParseAddrPort("10.77.0.2:0"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range 600 {
			_, _ = c.WriteToUDPAddrPort([]byte("junk"), at)
		}
	}
	list(http.MethodPost, "/security/addresses", map[string]any{"network": "10.77.0.0/30", "action": "allow"})
	flood()
	if n := f.guess(t, at, 30); n != 30 || len(f.bans(t)) != 0 || f.kernelBans(t, "auto_sip_4") != "" {
		t.Fatalf("on the list: %d of 30 answered, %+v, %q", n, f.bans(t), f.kernelBans(t, "auto_sip_4"))
	}
	list(http.MethodDelete, "/security/addresses?network="+url.QueryEscape("10.77.0.0/30"), nil)
	flood()
	if answers() || !strings.Contains(f.kernelBans(t, "auto_sip_4"), "10.77.0.2") {
		t.Fatal("off the list: a flood goes unpunished")
	}
	f.becomes(t, answers) // two seconds later

	before := time.Now()
	if n := f.guess(t, at, 12); n != 10 {
		t.Errorf("off the list: %d of 12 answered", n)
	}
	f.becomes(t, func() bool { return len(f.bans(t)) == 1 })
	all := f.bans(t)
	if all[0].Reason != "wrong passwords" || all[0].Until.Before(before.Add(banned)) {
		t.Fatalf("%+v", all)
	}
	// A restart of everything; the table of the packet filter is lost as well.
	f.pbx.Stop(syscall.SIGTERM)
	f.fence.kill()
	if out, err := f.host.Command(t.Context(), "nft", "delete", "table", "inet", "ringfence").CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	f.fence.start(t)
	f.pbx.Restart(t)
	f.becomes(t, func() bool { return strings.Contains(f.kernelBans(t, "auto_sip_4"), "10.77.0.2") })
	if now := f.bans(t); len(now) != 1 || now[0].Until.Sub(all[0].Until).Abs() > time.Second {
		t.Errorf("after a restart: %+v, before %+v", now, all)
	}
	if time.Now().Before(all[0].Until.Add(-time.Second)) && answers() {
		t.Error("after a restart the banned source is answered")
	}
	opened := map[string]time.Duration{}
	for end := all[0].Until.Add(5 * time.Second); len(opened) < 3 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for what, open := range map[string]func() bool{
			"packet filter": func() bool { return f.kernelBans(t, "auto_sip_4") == "" },
			"portal":        func() bool { return len(f.bans(t)) == 0 },
			"SIP":           answers,
		} {
			if _, seen := opened[what]; !seen && open() {
				opened[what] = time.Since(all[0].Until)
			}
		}
	}
	t.Logf("opened after the end: %v", opened)
	for what, late := range opened {
		if late.Abs() > 2*time.Second {
			t.Errorf("%s opens %v after the end", what, late)
		}
	}
	if len(opened) != 3 {
		t.Errorf("only %v opened", opened)
	}
}
