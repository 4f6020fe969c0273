package store

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// TestCallHandlingIsKept: what is set is read back, also after a restart, is
// in the snapshot and in the history, and what is not usable is refused.
func TestCallHandlingIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	id := addTenant(t, s, "pbx.example", "101", "102")
	want := telephony.CallHandling{
		ForwardAlways: "102", ForwardBusy: "103", ForwardNoAnswer: "*97", ForwardUnregistered: "+4930",
		DoNotDisturb: true, MaxCalls: 2, RingAlso: []string{"102", "103"},
	}
	put := func(h telephony.CallHandling) error {
		_, err := s.ForTenant(id).Update(t.Context(), admin(), func(tx *Tx) error {
			e, err := tx.Extension("101")
			if err != nil {
				return err
			}
			e.Handling = h
			return tx.PutExtension(e)
		})
		return err
	}
	if err := put(want); err != nil {
		t.Fatal(err)
	}
	if fe, ok := telephony.AsFieldError(put(telephony.CallHandling{ForwardBusy: "101"})); !ok || fe.Field != "forward_busy" {
		t.Errorf("forwarding to itself: %v", fe)
	}
	s.Close()
	s = openAt(t, dir)
	if e, _ := s.Snapshot().Extension(id, "101"); !e.Handling.Equal(want) {
		t.Errorf("after a restart: %+v", e.Handling)
	}
	if e, _ := s.Snapshot().Extension(id, "102"); !e.Handling.Equal(telephony.CallHandling{}) {
		t.Errorf("another extension: %+v", e.Handling)
	}
}

// TestCallRulesAreKept: a tenant's rules and the media security of its extensions
// outlive a restart; new extensions take the tenant's, old ones keep theirs.
func TestCallRulesAreKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	id := addTenant(t, s, "pbx.example", "101", "102")
	if v, _ := s.Snapshot().Tenant(id); v.Calls != telephony.DefaultCallRules() {
		t.Errorf("of a new tenant: %+v", v.Calls)
	}
	want := telephony.CallRules{
		Media: telephony.SecurityRequire, Session: telephony.SessionRequire, SessionExpires: 20 * time.Minute, MinSE: 2 * time.Minute,
		DeadMedia: 0, Tones: "DE", Music: telephony.MusicOfPhone,
	}
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) error {
		v, err := tx.Tenant()
		if err != nil {
			return err
		}
		v.Calls = want
		if err := tx.PutTenant(v); err != nil {
			return err
		}
		if _, err := tx.CreateExtension(telephony.Extension{Number: "103"}, testPassword); err != nil {
			return err
		}
		e, err := tx.Extension("102")
		if err != nil {
			return err
		}
		e.Media, e.DTMF = telephony.SecurityOff, telephony.DTMFInfo
		return tx.PutExtension(e)
	})
	s.Close()
	s = openAt(t, dir)
	if v, _ := s.Snapshot().Tenant(id); v.Calls != want {
		t.Errorf("after a restart: %+v", v.Calls)
	}
	for number, want := range map[string]telephony.MediaSecurity{"101": telephony.SecurityOffer, "102": telephony.SecurityOff, "103": telephony.SecurityRequire} {
		if e, _ := s.Snapshot().Extension(id, number); e.Media != want {
			t.Errorf("%s: %q, want %q", number, e.Media, want)
		}
	}
	for number, want := range map[string]telephony.DTMF{"101": telephony.DTMFAuto, "102": telephony.DTMFInfo} {
		if e, _ := s.Snapshot().Extension(id, number); e.DTMF != want {
			t.Errorf("%s: digits are %q, want %q", number, e.DTMF, want)
		}
	}
	_, err := s.ForTenant(id).Update(t.Context(), admin(), func(tx *Tx) error {
		e, err := tx.Extension("101")
		if err != nil {
			return err
		}
		e.Media = "srtp"
		return tx.PutExtension(e)
	})
	if fe, ok := telephony.AsFieldError(err); !ok || fe.Field != "media_security" {
		t.Errorf("an unknown policy: %v", err)
	}
}

// TestAddressesAreKept: an emptied list of inside networks stays empty, and does
// not become the default again.
func TestAddressesAreKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	put := func(change func(*telephony.Settings)) {
		t.Helper()
		mustUpdate(t, s.System(), func(tx *Tx) error {
			v, err := tx.Settings()
			if err != nil {
				return err
			}
			change(&v)
			return tx.PutSettings(v)
		})
		s.Close()
		s = openAt(t, dir)
	}
	both := []telephony.PublicAddress{{Local: netip.MustParseAddr("10.0.0.5"), Public: netip.MustParseAddr("203.0.113.5")}}
	digests := map[ports.ID]telephony.Digest{ports.EdgeUDP: telephony.DigestSHA256}
	put(func(v *telephony.Settings) {
		v.PublicAddresses, v.InsideNetworks, v.ListenerDigests = both, []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, digests
	})
	got := s.Snapshot().Settings
	if !slices.Equal(got.PublicAddresses, both) || len(got.InsideNetworks) != 1 || !maps.Equal(got.ListenerDigests, digests) {
		t.Errorf("%+v", got)
	}
	for _, none := range [][]netip.Prefix{{}, nil} {
		put(func(v *telephony.Settings) { v.InsideNetworks, v.ListenerDigests = none, nil })
		if got := s.Snapshot().Settings; len(got.InsideNetworks) != 0 || len(got.ListenerDigests) != 0 {
			t.Errorf("emptied: %+v", got)
		}
	}
}

func TestCallRecordsNameForwardsAndTransfers(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := addTenant(t, s, "pbx.example", "101", "102")
	r := exampleCall(id, "c1", "101", "102", time.Now())
	r.ForwardedBy, r.TransferredBy, r.Previous, r.Next = []string{"105", "106"}, "107", "c0", "c2"
	r.EndedBy, r.Direction = telephony.SideCallee, telephony.Outbound
	r.Route = telephony.CallRoute{
		Dialled: "0089123", Sent: "+4989123", CallerID: "+49301", InTrunk: 3, DID: "+49302", OutTrunk: 4,
		Class: telephony.ClassNational, Account: "105", Emergency: true,
	}
	if err := s.AppendCallRecords(t.Context(), []telephony.CallRecord{r}); err != nil {
		t.Fatal(err)
	}
	got, _, err := s.ForTenant(id).CallRecords(t.Context(), CallRecordFilter{})
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	if g := got[0]; len(g.ForwardedBy) != 2 || g.ForwardedBy[1] != "106" || g.TransferredBy != "107" || g.Previous != "c0" || g.Next != "c2" || g.Route != r.Route || g.EndedBy != r.EndedBy || g.Direction != r.Direction {
		t.Errorf("%+v", g)
	}
}
