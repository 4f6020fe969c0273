package qemu

import (
	"context"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/siptest"
)

const (
	invite = "abcdefghijklmnopqrstuvwxyz"
	preset = "#cloud-config\nringfence:\n  token: " + invite + "\n  name: Cloudy\n  domain: cloud.example\n  extension_first: \"101\"\n  extension_last: \"199\"\n"
	wrong  = "#cloud-config\nringfence:\n  domian: cloud.example\n"
	told   = "First-boot data: user-data line 3: ringfence.domian: is not a key of this section"
)

// whole reports whether everything is to run that the seeded share leaves out.
func whole() bool { return os.Getenv("RINGFENCE_DRILL") != "" }

type boxStatus struct {
	Hostname, Cloud string
	Notices         []string
	Counts          struct{ Extensions int }
	Clock           *struct {
		Server, Origin string
		CheckedAt      time.Time `json:"checked_at"`
	}
}

func (vm *VM) status(t *testing.T) (s boxStatus) {
	t.Helper()
	if err := vm.API.Do(t.Context(), "GET", "/status", nil, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// console waits for a text of this boot.
func (vm *VM) console(t *testing.T, mark int, pattern string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootTimeout)
	defer cancel()
	m, err := vm.Console.WaitAfter(ctx, mark, pattern)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestAWS is the life of an instance: the first boot configures it, the second
// repeats nothing, a copy of its disk in another instance has keys of its own.
func TestAWS(t *testing.T) {
	t.Parallel()
	c := aws()
	c.userData = preset
	vm := Boot(t, InCloud(c))
	first := vm.machineID(t)
	if !strings.Contains(vm.Console.String(), "instance=i-0123456789abcdef0") {
		t.Error("the console does not tell the instance")
	}
	checkIMDSv2(t, c.Asked())
	if vm.Token != invite {
		t.Errorf("the console invites with %q", vm.Token)
	}
	checkClockIsSet(t, vm)
	vm.Setup()
	if s := vm.status(t); s.Clock == nil || s.Clock.Server != timeServer || s.Clock.Origin != "cloud" || time.Since(s.Clock.CheckedAt).Abs() > 3*time.Minute {
		t.Errorf("clock %+v", s.Clock)
	}
	if s := vm.status(t); s.Cloud != "AWS" || s.Hostname != "pbx-aws" || s.Counts.Extensions != 4 || len(s.Notices) != 0 {
		t.Errorf("status %+v", s)
	}
	checkPublicAddress(t, vm)
	vm.checkLaterBoots(t, c, first, "pbx-aws", "i-0fedcba9876543210")
}

// checkClockIsSet: a clock that is ahead by the hardware's is set by the
// cloud's time server, whose answers the packet filter lets in. Sessions end by
// that, and so they would by wrong clocks of later boots, which are right.
func checkClockIsSet(t *testing.T, vm *VM) {
	t.Helper()
	by, err := time.ParseDuration(vm.console(t, 0, `msg="the clock is set" offset=(\S+) server=`+timeServer+` origin=cloud`)[1])
	if err != nil || (by+clockAhead).Abs() > time.Minute {
		t.Errorf("the clock was set by %s, %v", by, err)
	}
	n := slices.Index(vm.options.args, "-rtc")
	vm.options.args = slices.Delete(vm.options.args, n, n+2)
}

// checkLaterBoots boots again, which repeats nothing, and then as a copy in
// another instance, which gets an identity and keys of its own.
func (vm *VM) checkLaterBoots(t *testing.T, c *Cloud, first, name, other string) {
	t.Helper()
	fingerprint := vm.Fingerprint
	c.Asked()
	vm.PowerCycle()
	if c.Name == "AWS" {
		checkIMDSv2(t, c.Asked())
	}
	if text := vm.Console.String(); strings.Contains(text, "new machine") || strings.Contains(text, "certificate made") || !strings.Contains(text, "ringfence: running") {
		t.Error("the second boot did the first one's work again")
	}
	if s := vm.status(t); vm.Fingerprint != fingerprint || s.Hostname != name || s.Counts.Extensions != 4 {
		t.Errorf("second boot: %s, %+v", vm.Fingerprint, s)
	}
	if err := vm.API.Do(t.Context(), "GET", "/setup", nil, nil); err == nil {
		t.Error("the invitation is good for another set-up")
	}

	vm.Kill()
	c.Set(func(c *Cloud) { c.instance = other })
	vm.PowerOn()
	if second := vm.console(t, 0, `msg="new machine" id=(\w{32}) instance=`+other)[1]; second == first {
		t.Errorf("the copy is machine %s too", second)
	}
	if vm.Fingerprint == fingerprint || !strings.Contains(vm.Console.String(), "ringfence: running") {
		t.Errorf("the copy shows certificate %s, or lost its settings", vm.Fingerprint)
	}
}

// checkIMDSv2 demands what AWS demands: a token first, by PUT, and nothing
// without it.
func checkIMDSv2(t *testing.T, all []Asked) {
	t.Helper()
	if len(all) == 0 || all[0].Method != "PUT" || all[0].URL != "/latest/api/token" || all[0].Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") == "" || all[0].Body != "" {
		t.Fatalf("the first request: %+v", all)
	}
	for _, a := range all {
		if a.To != linkLocal || a.Host != linkLocal || len(a.Header["X-Forwarded-For"])+len(a.Header["Cookie"]) > 0 {
			t.Errorf("%+v", a)
		}
		if a.Method == "GET" && a.Header.Get("X-Aws-Ec2-Metadata-Token") != token {
			t.Errorf("without the token: %+v", a)
		}
	}
	for _, path := range []string{"meta-data/instance-id", "meta-data/public-ipv4", "user-data"} {
		if len(find(all, "GET", "/latest/"+path)) != 1 {
			t.Errorf("%s was not asked for once", path)
		}
	}
}

// checkPublicAddress has a phone outside and one inside call: each is told
// where the PBX is for it (C02).
func checkPublicAddress(t *testing.T, vm *VM) {
	t.Helper()
	const outside = "198.51.100.9"
	if err := vm.NS.IP("addr", "add", outside+"/32", "dev", tap); err != nil {
		t.Fatal(err)
	}
	var addresses struct {
		Cloud []struct{ Local, Public string }
	}
	if err := vm.API.Do(t.Context(), "GET", "/addresses", nil, &addresses); err != nil || len(addresses.Cloud) != 1 || addresses.Cloud[0].Public != publicAddress || addresses.Cloud[0].Local != guest4 {
		t.Errorf("addresses %+v, %v", addresses, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a := vm.Phone("101", 440, func(c *siptest.Config) { c.Listen = netip.MustParseAddrPort(outside + ":0") })
	b := vm.Phone("102", 880)
	for _, p := range []*siptest.Phone{a, b} {
		if err := p.Register(ctx); err != nil {
			t.Fatal(err)
		}
	}
	out, err := a.Call(ctx, "102")
	if err != nil {
		t.Fatal(err)
	}
	in, err := b.WaitCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Answer(); err != nil {
		t.Fatal(err)
	}
	if err := out.Wait(ctx, siptest.Answered); err != nil {
		t.Fatal(err)
	}
	if got := out.Remote().Addr.Addr().String(); got != publicAddress {
		t.Errorf("the phone outside is told %s", got)
	}
	if got := in.Remote().Addr.Addr().String(); got != guest4 {
		t.Errorf("the phone inside is told %s", got)
	}
	_ = in.HangUp()
}

// TestAzure: the first boot configures itself and tells Azure that it is up,
// once the PBX is.
func TestAzure(t *testing.T) {
	t.Parallel()
	c := azure()
	c.userData = preset
	vm := Boot(t, InCloud(c))
	if vm.Token != invite || !strings.Contains(vm.Console.String(), "instance=02aab8a4-74ef-476e-8182-f6d2ba4166a6") {
		t.Errorf("the console invites with %q", vm.Token)
	}
	vm.console(t, 0, `boot is healthy`)
	var all []Asked
	for deadline := time.Now().Add(time.Minute); len(find(all, "POST", "/machine")) == 0 && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		all = append(all, c.Asked()...)
	}
	healthy := slices.IndexFunc(all, func(a Asked) bool { return a.To == wireServer })
	for i, a := range all {
		switch {
		case healthy >= 0 && i < healthy || a.To == linkLocal:
			if a.To != linkLocal || a.Method != "GET" || a.Header.Get("Metadata") != "true" || len(a.Header["X-Forwarded-For"]) > 0 || !strings.Contains(a.URL, "api-version=") {
				t.Errorf("%+v", a)
			}
		case a.Header.Get("X-Ms-Version") != "2012-11-30" || !strings.HasPrefix(a.URL, "/machine?comp="):
			t.Errorf("%+v", a)
		}
	}
	// Two refusals, which were tried again, the goal state, one report.
	if n := len(find(all, "GET", "/machine?comp=goalstate")); n != 3 {
		t.Errorf("%d requests for the goal state", n)
	}
	reports := find(all, "POST", "/machine?comp=health")
	if len(reports) != 1 {
		t.Fatalf("reports %+v", reports)
	}
	report := regexp.MustCompile(`<Health>.*<GoalStateIncarnation>3</GoalStateIncarnation>.*<ContainerId>container-1</ContainerId>.*<InstanceId>role-1</InstanceId>.*<State>Ready</State>`)
	if !report.MatchString(reports[0].Body) || !strings.HasPrefix(reports[0].Header.Get("Content-Type"), "text/xml") {
		t.Errorf("%+v", reports[0])
	}
	vm.Setup()
	if s := vm.status(t); s.Cloud != "Azure" || s.Hostname != "pbx-azure" {
		t.Errorf("status %+v", s)
	}
	if whole() {
		vm.checkLaterBoots(t, c, vm.machineID(t), "pbx-azure", "12aab8a4-74ef-476e-8182-f6d2ba4166a7")
	}
}

// machineID is the one that this boot made.
func (vm *VM) machineID(t *testing.T) string {
	t.Helper()
	return vm.console(t, 0, `msg="new machine" id=(\w{32})`)[1]
}

// TestGoogleAndHostileMetadata: wrong user-data is told on console and portal,
// and the rest counts; a service gone wild at a later boot delays it by less
// than ten seconds and changes nothing.
func TestGoogleAndHostileMetadata(t *testing.T) {
	t.Parallel()
	c := google()
	c.userData = wrong
	vm := Boot(t, InCloud(c))
	if !strings.Contains(vm.Console.String(), told) || !strings.Contains(vm.Console.String(), "instance=7520871235012936482") {
		t.Error("the console tells neither instance nor problem")
	}
	for _, a := range c.Asked() {
		if a.To != linkLocal || a.Host != "metadata.google.internal" || a.Header.Get("Metadata-Flavor") != "Google" || len(a.Header["X-Forwarded-For"]) > 0 {
			t.Errorf("%+v", a)
		}
	}
	vm.Setup()
	if s := vm.status(t); s.Cloud != "Google Cloud" || s.Hostname != "pbx-google" || !slices.Contains(s.Notices, told) {
		t.Errorf("status %+v", s)
	}
	first, fingerprint := vm.machineID(t), vm.Fingerprint
	for kind, h := range hostile() {
		if kind != "slow" && !whole() {
			continue
		}
		t.Run(kind, func(t *testing.T) {
			vm.t = t
			vm.Kill()
			c.Set(func(c *Cloud) { c.hostile = h })
			vm.StartAgain()
			vm.console(t, 0, `metadata service gave nothing`)
			gaveUp := time.Now()
			all := c.Asked()
			if len(all) == 0 {
				t.Fatal("nobody asked")
			}
			if delay := gaveUp.Sub(all[0].At); delay > 10*time.Second {
				t.Errorf("the boot was delayed by %s", delay)
			} else {
				t.Logf("the boot was delayed by %.1f s", delay.Seconds())
			}
			vm.WaitReady(0)
			vm.console(t, 0, `boot is healthy`)
			if s := vm.status(t); vm.Fingerprint != fingerprint || s.Hostname != "pbx-google" || s.Counts.Extensions != 4 {
				t.Errorf("%s, %+v", vm.Fingerprint, s)
			}
		})
	}
	vm.t = t
	if c.Set(func(c *Cloud) { c.hostile = nil }); whole() {
		vm.checkLaterBoots(t, c, first, "pbx-google", "8520871235012936482")
	}
}
