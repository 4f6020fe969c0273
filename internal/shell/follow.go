package shell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"ringfence/internal/opsock"
	"ringfence/internal/telephony"
)

// Follower keeps a Server as pbxd wants it: the port open only while the
// setting is on, the keys those of the settings and of the cloud.
type Follower struct {
	Server *Server
	Call   func(ctx context.Context, method, path string, in, out any) error
	// Dir keeps when keys were used.
	Dir string
	// Listen is the address to listen on; invalid is all of them.
	Listen netip.Addr
	// Cloud are keys of the cloud's metadata, as in a .pub file.
	Cloud   []telephony.SSHPublicKey
	HostKey ssh.PublicKey
	Logger  *slog.Logger
	// Alive is called after each round.
	Alive func()

	mu     sync.Mutex
	used   map[string]time.Time // by id of the key
	kick   context.CancelFunc   // ends the wait for a change
	config opsock.ShellConfig
	ln     net.Listener
	open   uint16 // port that is meant to be open
	err    error  // why it is not
	wg     sync.WaitGroup
}

// retry is the pause after a failure to reach pbxd.
const retry = time.Second

// Run follows until ctx ends. While pbxd does not answer everything stays.
func (f *Follower) Run(ctx context.Context) {
	f.loadUsed()
	defer f.wg.Wait()
	defer f.close()
	for ctx.Err() == nil {
		var next opsock.ShellConfig
		round, cancel := context.WithTimeout(ctx, 2*opsock.ShellWait)
		f.mu.Lock()
		f.kick = cancel
		f.mu.Unlock()
		err := f.Call(round, http.MethodPost, opsock.PathShell, f.report(), &next)
		kicked := errors.Is(round.Err(), context.Canceled)
		cancel()
		if err == nil {
			f.apply(next)
		}
		f.Alive()
		if err != nil && !kicked {
			select {
			case <-time.After(retry):
			case <-ctx.Done():
			}
		}
	}
}

func (f *Follower) report() opsock.ShellReport {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := opsock.ShellReport{
		Have: f.config.Version, Listening: f.ln != nil, HostKey: ssh.FingerprintSHA256(f.HostKey),
		Refused: f.Server.Refused(), Sessions: f.Server.Sessions(),
	}
	if f.err != nil {
		r.Error = f.err.Error()
	}
	for _, k := range f.Cloud {
		r.Cloud = append(r.Cloud, k.String()+" "+k.Comment)
	}
	for id, at := range f.used {
		r.Used = append(r.Used, opsock.KeyUsed{ID: id, At: at})
	}
	return r
}

// apply brings keys and listener to a configuration; called again with the
// same it tries again what failed.
func (f *Follower) apply(c opsock.ShellConfig) {
	var keys []Key
	for _, k := range c.Keys {
		if public, err := telephony.ParseSSHKey(k.Key); err == nil {
			keys = append(keys, Key{k.Label, public})
		} else {
			f.Logger.Error("a key of the settings is not usable", "label", k.Label, "why", err.Error())
		}
	}
	for _, public := range f.Cloud {
		keys = append(keys, Key{cloudLabel(public), public})
	}
	f.Server.SetKeys(keys)
	f.forget(keys)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.config = c
	want := uint16(0)
	if c.Enabled && len(keys) > 0 {
		want = c.Port
	}
	if f.ln != nil && f.open != want {
		f.closeLocked()
	}
	if f.open = want; want == 0 {
		f.err = nil
		return
	}
	if f.ln == nil {
		f.listenLocked(want)
	}
}

func cloudLabel(k telephony.SSHPublicKey) string {
	if k.Comment == "" {
		return "from the cloud"
	}
	return k.Comment
}

func (f *Follower) listenLocked(port uint16) {
	host := ""
	if f.Listen.IsValid() {
		host = f.Listen.String()
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // the confinement does not see it
	ln, err := lc.Listen(context.Background(), "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		f.err = fmt.Errorf("opening port %d: %w", port, err)
		f.Logger.Error("the shell does not listen", "err", f.err)
		return
	}
	f.ln, f.err = ln, nil
	f.Logger.Info("listening", "addr", ln.Addr().String())
	f.wg.Go(func() {
		if err := f.Server.Serve(ln); err != nil {
			f.Logger.Error("listener ended", "err", err)
		}
	})
}

func (f *Follower) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closeLocked()
}

// closeLocked ends the listener and everybody who came through it.
func (f *Follower) closeLocked() {
	if f.ln == nil {
		return
	}
	_ = f.ln.Close()
	f.ln = nil
	f.Server.Disconnect()
	f.Logger.Info("closed")
}

// Used notes that a key was used and tells pbxd.
func (f *Follower) Used(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.used[id] = time.Now().UTC().Truncate(time.Second)
	f.saveUsed()
	if f.kick != nil {
		f.kick()
	}
}

// forget drops what is known of keys that are no more.
func (f *Follower) forget(keys []Key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	stays := make(map[string]bool, len(keys))
	for _, k := range keys {
		stays[k.Public.ID()] = true
	}
	changed := false
	for id := range f.used {
		if !stays[id] {
			delete(f.used, id)
			changed = true
		}
	}
	if changed {
		f.saveUsed()
	}
}

const usedName = "used.json"

func (f *Follower) loadUsed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.used = make(map[string]time.Time)
	text, err := os.ReadFile(filepath.Join(f.Dir, usedName))
	if err == nil {
		err = json.Unmarshal(text, &f.used)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.Logger.Warn("when keys were used is not known", "err", err)
	}
	if f.used == nil || len(f.used) > 2*telephony.MaxSSHKeys {
		f.used = make(map[string]time.Time)
	}
}

func (f *Follower) saveUsed() {
	text, err := json.Marshal(f.used)
	if err == nil {
		err = replaceFile(filepath.Join(f.Dir, usedName), text)
	}
	if err != nil {
		f.Logger.Warn("when keys were used is not kept", "err", err)
	}
}
