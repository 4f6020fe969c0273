package pbx

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"ringfence/internal/telephony"
)

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func devPBX(t *testing.T, data, run string) *PBX {
	t.Helper()
	p, err := Start(t.Context(), Options{DataDir: data, RunDir: run, Dev: true, Ephemeral: true, Extensions: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// C02: the public address that the cloud gave is advertised outside while the
// administrator sets none.
func TestCloudsPublicAddressIsAdvertised(t *testing.T) {
	t.Parallel()
	run := t.TempDir()
	put(t, run, machineFile, `{"cloud":"AWS","public_addresses":[{"own":"10.0.0.5","public":"203.0.113.7"}],"notices":["user-data line 3: is wrong"]}`)
	m, err := loadMachine(run)
	if err != nil || m.Cloud != "AWS" || len(m.Notices) != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
	s := m.advertise(telephony.DefaultSettings())
	own, outside, inside := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("198.51.100.9"), netip.MustParseAddr("10.0.0.9")
	if got := s.Advertised(own, outside); got.String() != "203.0.113.7" {
		t.Errorf("outside: %s", got)
	}
	if got := s.Advertised(own, inside); got != own {
		t.Errorf("inside: %s", got)
	}
	set := telephony.DefaultSettings()
	set.PublicAddress = netip.MustParseAddr("203.0.113.99")
	if got := m.advertise(set).Advertised(own, outside); got.String() != "203.0.113.99" {
		t.Errorf("the administrator's address gives way to %s", got)
	}
	m.Public[0].Own = netip.Addr{}
	if got := m.advertise(telephony.DefaultSettings()).Advertised(own, outside); got.String() != "203.0.113.7" {
		t.Errorf("of an unknown own address: %s", got)
	}
	put(t, run, machineFile, `{`)
	if _, err := loadMachine(run); err == nil {
		t.Error("half a file was read")
	}
}

// A copied disk on another machine: key, certificate and sessions are made
// anew, the settings stay.
func TestCopiedDiskGetsItsOwnKeys(t *testing.T) {
	t.Parallel()
	data, run := t.TempDir(), t.TempDir()
	put(t, run, machineIDFile, "0123\n")
	put(t, run, machineFile, `{"cloud":"Google Cloud"}`)
	first := devPBX(t, data, run)
	print1 := first.certs.Fingerprint()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again := devPBX(t, data, run)
	if again.certs.Fingerprint() != print1 {
		t.Error("the same machine made another certificate")
	}
	if h := (live{again}).Health(); h.Cloud != "Google Cloud" || len(h.Notices) != 0 || h.Clock != nil {
		t.Errorf("%+v", h)
	}
	put(t, run, machineFile, `{"cloud":"Google Cloud","clock":{"server":"192.0.2.1","origin":"DHCP","offset":-1500000,"at":"2026-11-23T12:00:00Z","problem":"The clock is not checked."}}`)
	if h := (live{again}).Health(); h.Clock == nil || h.Clock.Server != "192.0.2.1" || h.Clock.OffsetMS != -1.5 || h.Clock.CheckedAt.Hour() != 12 || len(h.Notices) != 1 {
		t.Errorf("%+v", h)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, run, machineIDFile, "4567\n")
	clone := devPBX(t, data, run)
	print2 := clone.certs.Fingerprint()
	if print2 == print1 || len(clone.store.Snapshot().Tenants()) != 1 {
		t.Error("the copy shows the certificate of the other machine, or lost its settings")
	}
	if err := clone.Close(); err != nil {
		t.Fatal(err)
	}
	if last := devPBX(t, data, run); last.certs.Fingerprint() != print2 {
		t.Error("the copy makes a certificate at every start")
	}
}
