package setup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"

	"ringfence/internal/ports"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// Seed is what first-boot data answers beforehand. Zero fields are left to
// people.
type Seed struct {
	// Token or TokenSHA256 (64 hexadecimal digits) replaces the random
	// one-time token.
	Token       string `json:"token,omitempty"`
	TokenSHA256 string `json:"token_sha256,omitempty"`

	Administrator *Administrator `json:"administrator,omitempty"`
	Tenant        *Tenant        `json:"tenant,omitempty"`
	// Extensions to create; ExtensionCount instead creates the first so many
	// of the range.
	Extensions     []Extension `json:"extensions,omitempty"`
	ExtensionCount int         `json:"extension_count,omitempty"`

	PublicAddress   netip.Addr `json:"public_address,omitzero"`
	AdvertiseAlways bool       `json:"advertise_always,omitempty"`
	Ports           []Port     `json:"ports,omitempty"`
	// CloudMode leaves filtering by port to the cloud. It holds in a cloud only.
	CloudMode bool `json:"cloud_mode,omitempty"`
}

// Administrator is the first user.
type Administrator struct {
	Name      string `json:"name"`
	Password  string `json:"password"`
	FirstName string `json:"first_name,omitempty"`
	LastName  string `json:"last_name,omitempty"`
	Email     string `json:"email,omitempty"`
}

// Tenant is the first organisation.
type Tenant struct {
	Name           string `json:"name"`
	Domain         string `json:"domain"`
	ExtensionFirst string `json:"extension_first"`
	ExtensionLast  string `json:"extension_last"`
}

// Extension is one of the first extensions. An empty SIPPassword is generated.
type Extension struct {
	Number      string `json:"number"`
	DisplayName string `json:"display_name,omitempty"`
	SIPPassword string `json:"sip_password,omitempty"`
}

// Port changes one row of the port table.
type Port struct {
	ID      ports.ID `json:"id"`
	Enabled *bool    `json:"enabled,omitempty"`
	First   uint16   `json:"first,omitempty"`
	Last    uint16   `json:"last,omitempty"`
}

// maxSeed bounds the file.
const maxSeed = 1 << 20

// LoadSeed reads the file that first boot leaves behind. Without a file there
// is no seed and no error.
func LoadSeed(path string) (*Seed, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the seed: %w", err)
	}
	if len(data) > maxSeed {
		return nil, fmt.Errorf("reading the seed %s: larger than %d bytes", path, maxSeed)
	}
	var s Seed
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("reading the seed %s: not the expected JSON", path) // the error could quote a password
	}
	return &s, nil
}

// ApplySeed saves what first-boot data answer, and finishes the wizard when
// they answer all of it. Steps that were done before are left alone: people
// may have changed them since. A refused answer is left to people.
func (w *Wizard) ApplySeed(ctx context.Context) error {
	seed := w.cfg.Seed
	if seed == nil || w.Finished() {
		return nil
	}
	state, err := w.State(ctx)
	if err != nil {
		return err
	}
	actor := telephony.Actor{Kind: telephony.ActorSetup, Name: "first-boot data"}
	errs := []error{w.applySettings(ctx, actor, seed)}
	if seed.Administrator != nil && !state.Administrator {
		errs = append(errs, w.SaveAdministrator(ctx, actor, *seed.Administrator))
	}
	if seed.Tenant != nil && !state.Tenant {
		errs = append(errs, w.SaveTenant(ctx, actor, *seed.Tenant))
	}
	if (len(seed.Extensions) > 0 || seed.ExtensionCount > 0) && !state.Extensions {
		errs = append(errs, w.applyExtensions(ctx, actor, seed))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("applying first-boot data: %w", err)
	}
	if seed.Administrator == nil || seed.Tenant == nil || len(seed.Extensions)+seed.ExtensionCount == 0 {
		return nil
	}
	if _, err := w.Finish(ctx, actor, ""); err != nil {
		return fmt.Errorf("applying first-boot data: %w", err)
	}
	return nil
}

func (w *Wizard) applyExtensions(ctx context.Context, actor telephony.Actor, seed *Seed) error {
	list := seed.Extensions
	if len(list) == 0 {
		var err error
		if list, err = w.Count(seed.ExtensionCount); err != nil {
			return err
		}
	}
	_, err := w.SaveExtensions(ctx, actor, list)
	return err
}

func (w *Wizard) applySettings(ctx context.Context, actor telephony.Actor, seed *Seed) error {
	return w.step(ctx, actor, func(tx *store.Tx) error {
		s, err := tx.Settings()
		if err != nil {
			return err
		}
		if seed.PublicAddress.IsValid() {
			s.PublicAddress, s.AdvertiseAlways = seed.PublicAddress, seed.AdvertiseAlways
		}
		s.CloudMode = s.CloudMode || seed.CloudMode
		if len(seed.Ports) > 0 {
			s.Ports = nil
			for _, p := range seed.Ports {
				s.Ports = append(s.Ports, ports.Override{ID: p.ID, Enabled: p.Enabled, First: p.First, Last: p.Last})
			}
		}
		return tx.PutSettings(s)
	})
}
