package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"ringfence/internal/opsock"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// shellSilence is how long the operator shell's process may say nothing until
// it counts as not there.
const shellSilence = 3 * opsock.ShellWait

// maxCloudKeys bounds what the cloud's metadata may add.
const maxCloudKeys = 16

// shell is what the operator shell's process last told.
type shell struct {
	mu     sync.Mutex
	report shellReport
}

type shellReport struct {
	opsock.ShellReport
	at time.Time // zero: never
}

func (s *shell) present() shellReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.report
}

func (s *shell) put(r opsock.ShellReport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report = shellReport{r, time.Now()}
}

// state says "listening", or why that is not so.
func (r shellReport) state(on bool) string {
	switch {
	case r.at.IsZero() || time.Since(r.at) > shellSilence:
		return "no operator shell runs on this machine"
	case r.Error != "":
		return r.Error
	case r.Listening:
		return "listening"
	case on:
		return "starting"
	}
	return "off"
}

// cloud are the keys of the cloud's metadata that may be used.
func (r shellReport) cloud() []telephony.SSHPublicKey {
	var all []telephony.SSHPublicKey
	for _, text := range r.Cloud[:min(len(r.Cloud), maxCloudKeys)] {
		if k, err := telephony.ParseSSHKey(text); err == nil {
			all = append(all, k)
		}
	}
	return all
}

func (r shellReport) keyOf(k telephony.SSHPublicKey) SSHKey {
	out := SSHKey{ID: k.ID(), Type: k.Type, Bits: k.Bits, Fingerprint: k.Fingerprint()}
	if i := slices.IndexFunc(r.Used, func(u opsock.KeyUsed) bool { return u.ID == out.ID }); i >= 0 {
		out.LastUsedAt = &r.Used[i].At
	}
	return out
}

// ShellError is why the operator shell does not listen, or nil.
func (s *Server) ShellError() error {
	if state := s.shell.present().state(true); state != "listening" {
		return errors.New(state)
	}
	return nil
}

// ShellHostKey is the fingerprint of the operator shell's host key while the
// shell is on, for the console.
func (s *Server) ShellHostKey() string {
	if _, on := s.sshRow(); !on {
		return ""
	}
	return s.shell.present().HostKey
}

// shellReport takes a report and answers with the configuration: at once if
// it is another than the process has, else when it changes or after a while.
func (s *Server) shellReport(r *http.Request) (any, error) {
	var in opsock.ShellReport
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, errors.New("reading the report: not the expected JSON")
	}
	changes := s.cfg.Store.Subscribe()
	defer changes.Close()
	s.shell.put(in)
	end := time.NewTimer(opsock.ShellWait)
	defer end.Stop()
	for {
		cfg, err := s.shellConfig()
		if err != nil || cfg.Version != in.Have {
			return cfg, err
		}
		select {
		case <-changes.C:
		case <-end.C:
			return cfg, nil
		case <-r.Context().Done():
			return cfg, nil
		case <-s.closing:
			return cfg, nil
		}
	}
}

func (s *Server) shellConfig() (opsock.ShellConfig, error) {
	row, on := s.sshRow()
	cfg := opsock.ShellConfig{Enabled: on, Port: row.First, Keys: []opsock.ShellKey{}}
	for _, k := range s.cfg.Store.Snapshot().Settings.ShellKeys {
		cfg.Keys = append(cfg.Keys, opsock.ShellKey{Label: k.Label, Key: k.Key})
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		return cfg, err
	}
	sum := sha256.Sum256(text)
	cfg.Version = hex.EncodeToString(sum[:8])
	return cfg, nil
}

// maxCommand bounds a command in the audit log, in bytes.
const maxCommand = 1024

// shellEvent enters into the audit log what somebody does in the shell.
func (s *Server) shellEvent(r *http.Request) (any, error) {
	var in opsock.ShellEvent
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, errors.New("reading the event: not the expected JSON")
	}
	switch in.Kind {
	case opsock.ShellLogin, opsock.ShellLogout, opsock.ShellCommand:
	default:
		return nil, errors.New("reading the event: unknown kind")
	}
	return struct{}{}, s.cfg.Store.System().Record(r.Context(), operatorActor(r), "shell."+in.Kind, cut(in.Command, maxCommand), nil)
}

func (s *Server) operatorSSH(*http.Request) (any, error) { return s.sshForOperator(), nil }

func (s *Server) sshForOperator() opsock.SSH {
	v := s.sshSettings()
	out := opsock.SSH{Enabled: v.Enabled, State: v.State, Port: v.Port, User: v.User, HostKey: v.HostKey, Refused: v.Refused, Keys: []opsock.SSHKey{}}
	for _, k := range v.Keys {
		shown := opsock.SSHKey{ID: k.ID, Label: k.Label, Type: k.Type, Fingerprint: k.Fingerprint, AddedBy: k.AddedBy, Cloud: k.Cloud}
		if k.LastUsedAt != nil {
			shown.LastUsed = *k.LastUsedAt
		}
		out.Keys = append(out.Keys, shown)
	}
	return out
}

func (s *Server) operatorChangeSSH(r *http.Request) (any, error) {
	var in opsock.SSHChange
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, errors.New("reading the request: not the expected JSON")
	}
	actor := operatorActor(r)
	var changes []func(*telephony.Settings) error
	if in.AddKey != "" || in.AddLabel != "" {
		changes = append(changes, addSSHKey(in.AddLabel, in.AddKey, actor.Name))
	}
	if in.RemoveKey != "" {
		changes = append(changes, s.removeSSHKey(in.RemoveKey))
	}
	if in.Enabled != nil {
		changes = append(changes, s.enableSSH(*in.Enabled))
	}
	if err := s.changeSSH(r.Context(), actor, changes); err != nil {
		return nil, err
	}
	return s.sshForOperator(), nil
}

func (s *Server) changeSSH(ctx context.Context, actor telephony.Actor, changes []func(*telephony.Settings) error) error {
	_, err := s.cfg.Store.System().Update(ctx, actor, func(tx *store.Tx) error {
		settings, err := tx.Settings()
		if err != nil {
			return err
		}
		for _, change := range changes {
			if err := change(&settings); err != nil {
				return err
			}
		}
		return tx.PutSettings(settings)
	})
	fe, field := telephony.AsFieldError(err)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return errors.New("there is no such key")
	case field && fe.Field == newKey+"key":
		return errors.New("the key " + fe.Reason)
	case field && fe.Field == newKey+"label":
		return errors.New("the label " + fe.Reason)
	}
	return err
}
