package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

func (s *Server) registerSSH() {
	added := map[string]string{}
	for _, f := range []string{"label", "key"} {
		added[newKey+f] = "body." + f
	}
	handle(s, operation{id: "get-ssh", method: http.MethodGet, path: "/ssh", tag: "box", summary: "The operator shell over SSH, and who may log in to it", access: systemOnly}, s.getSSH)
	handle(s, operation{id: "put-ssh", method: http.MethodPut, path: "/ssh", tag: "box", summary: "Switch the operator shell on or off; its port follows at once, and sessions end with it", access: systemOnly, errors: []int{http.StatusConflict}}, s.putSSH)
	handle(s, operation{id: "create-ssh-key", method: http.MethodPost, path: "/ssh/keys", tag: "box", summary: "Let the owner of a public key log in to the operator shell", access: systemOnly, status: http.StatusCreated, errors: []int{http.StatusConflict}, fields: added}, s.createSSHKey)
	handle(s, operation{id: "delete-ssh-key", method: http.MethodDelete, path: "/ssh/keys/{id}", tag: "box", summary: "Take a key off the operator shell; its sessions end", access: systemOnly, status: http.StatusNoContent, errors: []int{http.StatusNotFound, http.StatusConflict}}, s.deleteSSHKey)
}

// sshKeyPath is the key of a path.
type sshKeyPath struct {
	ID string `path:"id" pattern:"^[0-9a-f]{16}$" maxLength:"16" doc:"Identifier of the key."`
}

// newKey begins the fields of a key that is being added.
const newKey = "shell_keys[new]."

// sshRow is the operator shell's row of the port table as the settings have it.
func (s *Server) sshRow() (row ports.Service, on bool) {
	settings := s.cfg.Store.Snapshot().Settings
	stage := ports.BeforeSetup
	if settings.SetupDone {
		stage = ports.InService
	}
	if open, err := ports.Effective(settings.Ports, stage); err == nil {
		row, on = ports.Lookup(open, ports.SSH)
	}
	if !on {
		row, _ = ports.Lookup(ports.Table(), ports.SSH)
	}
	return row, on
}

// sshSettings are settings and state of the operator shell.
func (s *Server) sshSettings() SSH {
	row, on := s.sshRow()
	report := s.shell.present()
	out := SSH{
		Enabled: on, Port: int(row.First), User: telephony.SSHUser, State: report.state(on),
		HostKey: report.HostKey, Refused: report.Refused, Sessions: report.Sessions, Keys: []SSHKey{},
	}
	for _, z := range row.Zones {
		out.Zones = append(out.Zones, string(z))
	}
	for _, k := range s.cfg.Store.Snapshot().Settings.ShellKeys {
		if key, err := telephony.ParseSSHKey(k.Key); err == nil {
			shown := report.keyOf(key)
			shown.Label, shown.AddedBy, shown.AddedAt = k.Label, k.AddedBy, &k.AddedAt
			out.Keys = append(out.Keys, shown)
		}
	}
	for _, key := range report.cloud() {
		shown := report.keyOf(key)
		if !slices.ContainsFunc(out.Keys, func(k SSHKey) bool { return k.ID == shown.ID }) {
			shown.Label, shown.Cloud = cut(key.Comment, telephony.MaxNameLen), true
			out.Keys = append(out.Keys, shown)
		}
	}
	return out
}

func (s *Server) getSSH(context.Context, *noInput) (*body[SSH], error) {
	return &body[SSH]{s.sshSettings()}, nil
}

// The changes of the operator shell, for the REST interface and for the
// operator's command line.

func (s *Server) enableSSH(on bool) func(*telephony.Settings) error {
	return func(settings *telephony.Settings) error {
		if on && len(settings.ShellKeys)+len(s.shell.present().cloud()) == 0 {
			return &telephony.FieldError{Field: "enabled", Reason: "needs a key: add the public key of somebody who is to log in first"}
		}
		settings.Ports = ports.Change(settings.Ports, ports.SSH, func(o *ports.Override) { o.Enabled = &on })
		return nil
	}
}

func addSSHKey(label, text, by string) func(*telephony.Settings) error {
	return func(settings *telephony.Settings) error {
		key, err := telephony.ParseSSHKey(text)
		if err != nil {
			return &telephony.FieldError{Field: newKey + "key", Reason: err.Error()}
		}
		added := telephony.SSHKey{Label: label, Key: key.String(), AddedAt: time.Now().UTC().Truncate(time.Second), AddedBy: by}
		one := telephony.Settings{ShellKeys: []telephony.SSHKey{added}}
		if err := one.CheckSSHKeys(); err != nil { // names the field of the form
			fe, _ := telephony.AsFieldError(err)
			return &telephony.FieldError{Field: newKey + "label", Reason: fe.Reason}
		}
		settings.ShellKeys = append(slices.Clone(settings.ShellKeys), added)
		if err := settings.CheckSSHKeys(); err != nil {
			fe, _ := telephony.AsFieldError(err)
			return &telephony.FieldError{Field: newKey + "key", Reason: fe.Reason}
		}
		return nil
	}
}

// removeSSHKey does not take the last key while the port is open: a door that
// nobody may use is for attackers only.
func (s *Server) removeSSHKey(id string) func(*telephony.Settings) error {
	return func(settings *telephony.Settings) error {
		keep := slices.DeleteFunc(slices.Clone(settings.ShellKeys), func(k telephony.SSHKey) bool {
			key, err := telephony.ParseSSHKey(k.Key)
			return err == nil && key.ID() == id
		})
		if len(keep) == len(settings.ShellKeys) {
			if slices.ContainsFunc(s.shell.present().cloud(), func(k telephony.SSHPublicKey) bool { return k.ID() == id }) {
				return errCloudKey
			}
			return store.ErrNotFound
		}
		if _, on := s.sshRow(); on && len(keep)+len(s.shell.present().cloud()) == 0 {
			return errLastKey
		}
		settings.ShellKeys = keep
		return nil
	}
}

var (
	errCloudKey = errors.New("this key comes from the cloud's metadata and cannot be removed here")
	errLastKey  = errors.New("this is the last key: switch SSH off first")
)

func (s *Server) putSSH(ctx context.Context, in *tryBody[SSHUpdate]) (*body[SSH], error) {
	trial, err := s.trySettings(ctx, in.TryQuery, s.enableSSH(in.Body.Enabled))
	if err != nil {
		return nil, err
	}
	out := s.sshSettings()
	out.Trial = trial
	return &body[SSH]{out}, nil
}

func (s *Server) createSSHKey(ctx context.Context, in *body[SSHKeyCreate]) (*body[SSH], error) {
	err := s.changeSettings(ctx, addSSHKey(in.Body.Label, in.Body.Key, callerOf(ctx).actor().Name))
	if err != nil {
		return nil, err
	}
	return s.getSSH(ctx, nil)
}

func (s *Server) deleteSSHKey(ctx context.Context, in *sshKeyPath) (*struct{}, error) {
	err := s.changeSettings(ctx, s.removeSSHKey(in.ID))
	if errors.Is(err, errCloudKey) || errors.Is(err, errLastKey) {
		return nil, problem(http.StatusConflict, err.Error())
	}
	return nil, err
}
