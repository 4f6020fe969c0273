package netcfg

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestTimeServersAreHandedOver(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "time-servers.json")
	if got, err := ReadTimeServers(path); err != nil || !reflect.DeepEqual(got, TimeServers{}) {
		t.Errorf("without a file: %+v, %v", got, err)
	}
	want := TimeServers{Configured: []string{"ntp.example", "192.0.2.1"}}
	want.learn([]netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.2.7")})
	if err := want.write(path); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadTimeServers(path); err != nil || !reflect.DeepEqual(got, want) || len(got.DHCP) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	for what, text := range map[string]string{
		"no JSON": "x", "a name with a command": `{"configured":["-x y"]}`, "too many": `{"configured":["a"` + strings.Repeat(`,"b"`, MaxServers) + `]}`,
		"huge": `{"configured":["a"]` + strings.Repeat(" ", maxTimeServers) + `}`, "no address": `{"dhcp":["a"]}`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadTimeServers(path); err == nil || !reflect.DeepEqual(got, TimeServers{}) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	if err := os.WriteFile(path, []byte(`{"dhcp":["127.0.0.1","224.0.1.1","192.0.2.7"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadTimeServers(path); err != nil || len(got.DHCP) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}
