package pbx

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"ringfence/internal/ports"
)

// Facts tell a script how to reach a PBX started with -dev: the contract of
// -facts, kept stable (docs/dev.md).
type Facts struct {
	Admin      AdminFacts      `json:"admin"`
	Listeners  []ListenerFacts `json:"listeners"`
	Extensions []PhoneFacts    `json:"extensions"`
	DataDir    string          `json:"data_dir"`
}

// AdminFacts are how to log in, or how to set up a box that is not.
type AdminFacts struct {
	URL      string `json:"url"`
	User     string `json:"user"`
	Password string `json:"password"`
	Token    string `json:"token"`
}

// ListenerFacts say where one service listens.
type ListenerFacts struct {
	ID    ports.ID    `json:"id"`
	Proto ports.Proto `json:"proto"`
	Addr  netip.Addr  `json:"addr"`
	Port  uint16      `json:"port"`
}

// PhoneFacts are what a phone needs, and its user's log-in.
type PhoneFacts struct {
	Number       string `json:"number"`
	SIPUser      string `json:"sip_user"`
	SIPPassword  string `json:"sip_password"`
	User         string `json:"user"`
	UserPassword string `json:"user_password"`
	Domain       string `json:"domain"`
}

// write puts the facts into file at once, readable by its owner only.
func (f Facts) write(file string) error {
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".facts-*")
	if err != nil {
		return fmt.Errorf("writing facts: %w", err)
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("writing facts: %w", err)
	}
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("writing facts: %w", err)
	}
	return os.Rename(tmp.Name(), file)
}
