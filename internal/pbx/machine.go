package pbx

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ringfence/cloud-init/metadata"
	"ringfence/internal/telephony"
)

// machineFile and machineIDFile are what the appliance's init leaves in the
// run folder.
const (
	machineFile   = "boot.json"
	machineIDFile = "machine-id"
)

const maxMachineFile = 256 << 10

// machine is what this machine is said to be.
type machine struct {
	Cloud   metadata.Cloud     `json:"cloud"`
	Public  []metadata.Address `json:"public_addresses"`
	Notices []string           `json:"notices"`
	Clock   clock              `json:"clock"`
}

// clock is how init keeps the machine's clock.
type clock struct {
	Server  string        `json:"server"`
	Origin  string        `json:"origin"`
	Offset  time.Duration `json:"offset"`
	At      time.Time     `json:"at"`
	Problem string        `json:"problem"`
}

// loadMachine reads what init says; where there is no init of ours, the
// firmware is asked, which Landlock forbids later.
func loadMachine(runDir string) (m machine, err error) {
	if runDir == "" {
		return m, nil
	}
	f, err := os.Open(filepath.Join(runDir, machineFile))
	if errors.Is(err, fs.ErrNotExist) {
		return machine{Cloud: metadata.Detect("/")}, nil
	}
	if err != nil {
		return m, fmt.Errorf("reading about this machine: %w", err)
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, maxMachineFile)).Decode(&m); err != nil {
		return machine{}, fmt.Errorf("reading about this machine: %w", err)
	}
	return m, nil
}

// advertise completes settings without a public address by what the cloud
// says: whoever sets one knows better.
func (m machine) advertise(s telephony.Settings) telephony.Settings {
	if s.PublicAddress.IsValid() || len(s.PublicAddresses) > 0 {
		return s
	}
	for _, a := range m.Public {
		if a.Own.IsValid() {
			s.PublicAddresses = append(s.PublicAddresses, telephony.PublicAddress{Local: a.Own, Public: a.Public})
		} else if !s.PublicAddress.IsValid() {
			s.PublicAddress = a.Public
		}
	}
	return s
}

// names are the public addresses, for certificate and console.
func (m machine) names() []netip.Addr {
	var all []netip.Addr
	for _, a := range m.Public {
		all = append(all, a.Public)
	}
	return all
}

// copied reports whether the data folder was filled on another machine: its
// disk was copied, and what must differ between machines is to be made anew.
// settle, called once that is done, makes the folder this machine's.
func copied(dataDir, runDir string) (is bool, settle func() error, err error) {
	settle = func() error { return nil }
	if runDir == "" {
		return false, settle, nil
	}
	now, err := os.ReadFile(filepath.Join(runDir, machineIDFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, settle, nil
	}
	if err != nil {
		return false, settle, fmt.Errorf("reading the machine's id: %w", err)
	}
	path := filepath.Join(dataDir, machineIDFile)
	was, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, settle, fmt.Errorf("reading the machine's id: %w", err)
	}
	if string(was) == string(now) {
		return false, settle, nil
	}
	settle = func() error {
		if err := os.WriteFile(path+".new", now, 0o600); err != nil {
			return fmt.Errorf("writing the machine's id: %w", err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			return fmt.Errorf("writing the machine's id: %w", err)
		}
		return nil
	}
	return strings.TrimSpace(string(was)) != "", settle, nil
}
