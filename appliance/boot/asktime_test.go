package boot

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"ringfence/appliance/boot/supervise"
	"ringfence/appliance/boot/timesync"
	"ringfence/cloud-init/metadata"
	"ringfence/internal/netcfg"
	"ringfence/internal/version"
)

func TestTimeServersInOrder(t *testing.T) {
	t.Parallel()
	dhcp := []netip.Addr{netip.MustParseAddr("192.0.2.7")}
	both := netcfg.TimeServers{Configured: []string{"ntp.example"}, DHCP: dhcp}
	leased := netcfg.TimeServers{DHCP: dhcp}
	for _, x := range []struct {
		known netcfg.TimeServers
		cloud metadata.Cloud
		want  []string
	}{
		{both, metadata.AWS, []string{"ntp.example"}},
		{leased, metadata.AWS, []string{"192.0.2.7", "169.254.169.123"}},
		{leased, "", []string{"192.0.2.7"}},
		{netcfg.TimeServers{}, metadata.Google, []string{"169.254.169.254"}},
		{netcfg.TimeServers{}, metadata.Azure, nil},
		{netcfg.TimeServers{}, "", nil},
	} {
		var got []string
		for _, g := range timeGroups(x.known, x.cloud) {
			got = append(got, g.Servers...)
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("%+v in %q: %q, want %q", x.known, x.cloud, got, x.want)
		}
	}
}

// TestTimeIsAskedByAProcessOfItsOwn: the real one, given up files and all.
func TestTimeIsAskedByAProcessOfItsOwn(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go anHourAhead(conn)
	m := newMachine(Paths{t.TempDir()})
	t.Cleanup(func() { m.sup.Stop(); m.journal.Close(time.Second) })
	m.askTime = func(ctx context.Context, args ...string) ([]byte, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		// The file's rules let no loopback address of DHCP in, nor of people;
		// a name leads there.
		return supervise.Exec{Unprivileged: true}.Run(ctx, supervise.Service{
			Name: args[0], Path: self, Args: append(args, "-port", strconv.Itoa(conn.LocalAddr().(*net.UDPAddr).Port)), Env: []string{"RINGFENCE_TEST_ROLE=speaker"},
		}, timesync.MaxAnswer, func(line string) { t.Log(line) })
	}
	list := t.TempDir() + "/time-servers.json"
	if a, err := m.time(t.Context(), list, nil); err != nil || !a.NoSource {
		t.Errorf("without servers: %+v, %v", a, err)
	}
	if err := os.WriteFile(list, []byte(`{"configured":["localhost"]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	a, err := m.time(t.Context(), list, nil)
	if err != nil || a.Server != netip.MustParseAddr("127.0.0.1") || (a.Offset-time.Hour).Abs() > time.Second || a.Origin != timesync.FromConfig {
		t.Errorf("%+v, %v", a, err)
	}
	a, err = m.time(t.Context(), list, []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")})
	if err != nil || a.Server.IsValid() || a.NoSource {
		t.Errorf("who denied was asked: %+v, %v", a, err)
	}
}

// anHourAhead is a time server.
func anHourAhead(conn *net.UDPConn) {
	in := make([]byte, 1024)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(in)
		if err != nil || n < 48 {
			return
		}
		now := uint64(time.Now().Add(time.Hour).UnixNano())
		stamp := (now/1e9+2208988800)<<32 | (now%1e9)<<32/1e9 // RFC 5905 section 6
		out := make([]byte, 48)
		out[0], out[1] = 4<<3|4, 1
		copy(out[24:], in[40:48])
		for _, at := range []int{16, 32, 40} {
			binary.BigEndian.PutUint64(out[at:], stamp)
		}
		_, _ = conn.WriteToUDPAddrPort(out, from)
	}
}

func TestImplausibleClocks(t *testing.T) {
	t.Parallel()
	built := version.Built()
	for at, good := range map[time.Time]bool{
		{}: false, time.Unix(0, 0): false, built.Add(-time.Second): false, built: true,
		built.AddDate(9, 0, 0): true, built.AddDate(11, 0, 0): false, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC): false,
	} {
		if err := CheckClock(at); (err == nil) != good {
			t.Errorf("%s: %v", at, err)
		}
	}
}
