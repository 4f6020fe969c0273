package boot

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"ringfence/appliance/disk"
	"ringfence/cloud-init/metadata"
)

// identity is what makes this machine different from all others made of the
// same image. It is decided once and written down before it is applied, so
// that a boot which was cut off goes on with the same one.
type identity struct {
	MachineID  string         `json:"machine_id"` // 32 hexadecimal digits
	Disk       string         `json:"disk"`       // GUIDs of the partition table
	Partitions map[int]string `json:"partitions"`
	// InstanceID is the one of the seed this identity was made for.
	InstanceID string `json:"instance_id,omitempty"`
	// Hostname and Public are what seed or cloud last said.
	Hostname string             `json:"hostname,omitempty"`
	Public   []metadata.Address `json:"public_addresses,omitempty"`
}

const identityFile = "identity.json"

// newIdentity draws identifiers for the partitions of a table; t may be nil.
func newIdentity(random io.Reader, t *disk.Table, instance string) (identity, error) {
	id := identity{Partitions: make(map[int]string), InstanceID: instance}
	var raw [16]byte
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		return id, fmt.Errorf("drawing a machine id: %w", err)
	}
	id.MachineID = hex.EncodeToString(raw[:])
	if t == nil {
		return id, nil
	}
	fresh := disk.Table{Parts: append([]disk.Partition(nil), t.Parts...)}
	if err := fresh.Renew(random); err != nil {
		return id, err
	}
	id.Disk = fresh.Disk.String()
	for _, part := range fresh.Parts {
		id.Partitions[part.Number] = part.ID.String()
	}
	return id, nil
}

// valid reports whether an identity that was read can be used with a table.
func (id identity) valid(t *disk.Table) bool {
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(id.MachineID) {
		return false
	}
	if t == nil {
		return true
	}
	if _, err := disk.ParseGUID(id.Disk); err != nil {
		return false
	}
	for _, part := range t.Parts {
		if _, err := disk.ParseGUID(id.Partitions[part.Number]); err != nil {
			return false
		}
	}
	return true
}

// ensureIdentity reads this machine's identity or makes one: at the first boot,
// after a factory reset, and when the seed says that this is another machine
// now. fresh reports that it was made.
func (p Paths) ensureIdentity(t *disk.Table, instance string) (id identity, fresh bool, err error) {
	path := p.Keeper(identityFile)
	data, err := os.ReadFile(path)
	switch {
	case err == nil && json.Unmarshal(data, &id) == nil && id.valid(t):
		if instance == "" || id.InstanceID == instance {
			return id, false, nil
		}
		if id.InstanceID == "" { // the seed came after the first boot
			id.InstanceID = instance
			return id, false, p.saveIdentity(id)
		}
		// A copy of another machine's disk: its host name goes too.
		if err := ignoreMissing(os.Remove(p.Keeper(HostnameFile))); err != nil {
			return id, false, err
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return id, false, fmt.Errorf("reading identity: %w", err)
	}
	if id, err = newIdentity(rand.Reader, t, instance); err != nil {
		return id, false, err
	}
	return id, true, p.saveIdentity(id)
}

func (p Paths) saveIdentity(id identity) error {
	data, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(p.Keeper(identityFile), append(data, '\n'), 0o600, -1, -1)
}

// hostname chooses the machine's name: an operator's, the seed's, the one that
// a seed gave before, or one with digits of the machine id, so that several on
// one network differ.
func (p Paths) hostname(seed string, id identity) string {
	if data, err := os.ReadFile(p.Keeper(HostnameFile)); err == nil {
		if name := strings.TrimSpace(string(data)); ValidHostname(name) {
			return name
		}
	}
	switch {
	case ValidHostname(seed):
		return seed
	case ValidHostname(id.Hostname):
		return id.Hostname
	case len(id.MachineID) >= 4:
		return "ringfence-" + id.MachineID[:4]
	}
	return "ringfence"
}

// ValidHostname reports whether s is one label of a host name (RFC 1123
// section 2.1).
func ValidHostname(s string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`).MatchString(s)
}
