package netcfg

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// resolver is what one interface knows about name resolution.
type resolver struct {
	servers []netip.Addr
	search  []string
}

// maxResolvers is how many name servers a resolver asks (resolv.conf(5)).
const maxResolvers = 3

// resolvConf renders resolv.conf(5); earlier entries are asked first.
func resolvConf(list []resolver) string {
	var servers []netip.Addr
	var search []string
	for _, r := range list {
		for _, a := range r.servers {
			if !slices.Contains(servers, a) {
				servers = append(servers, a)
			}
		}
		for _, s := range r.search {
			if !slices.Contains(search, s) {
				search = append(search, s)
			}
		}
	}
	var b strings.Builder
	for _, a := range servers[:min(len(servers), maxResolvers)] {
		fmt.Fprintf(&b, "nameserver %s\n", a)
	}
	if len(search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(search[:min(len(search), MaxServers)], " "))
	}
	b.WriteString("options timeout:2 attempts:2\n")
	return b.String()
}

// writeShared replaces the file at path, unless it says the same already. Its
// readers never see half of it.
func writeShared(path, text string) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		return nil
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".shared-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer os.Remove(temp.Name())
	_, err = temp.WriteString(text)
	if cerr := temp.Close(); err == nil {
		err = cerr
	}
	const everybodyReads = 0o644
	if err == nil {
		err = os.Chmod(temp.Name(), everybodyReads)
	}
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
