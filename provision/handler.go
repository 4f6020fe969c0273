package provision

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/skip2/go-qrcode"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
	"ringfence/internal/tries"
)

// Prefix is where the files stand on every port that serves them.
const Prefix = "/provision/"

// linphoneFile is the one file of a directory so far.
const linphoneFile = "linphone.xml"

// A source that asks for so many files that are not there, within the window,
// is after other people's passwords.
const (
	maxMisses  = 20
	missWindow = 10 * time.Minute
	missBlock  = time.Hour
)

// pathLength is that of 128 bits in base32.
const pathLength = 26

// Config is what the handler stands on.
type Config struct {
	Snapshot func() *telephony.Snapshot
	// Password decrypts an extension's SIP password and writes the audit row.
	Password func(ctx context.Context, tenant telephony.TenantID, actor telephony.Actor, number string) (string, error)
	// Services are the open rows of the port table.
	Services func() []ports.Service
	// Ban is told once of a source that guesses.
	Ban func(addr netip.Addr, until time.Time, reason string)
	// Banned reports whether a source is banned, Spared whether it is never to be;
	// nil is nobody.
	Banned, Spared func(netip.Addr) bool
	Logger         *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Handler serves Prefix. Paths are secrets: it never logs one.
type Handler struct {
	cfg    Config
	misses *tries.Counter
}

// NewHandler returns the handler.
func NewHandler(cfg Config) *Handler {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	nobody := func(netip.Addr) bool { return false }
	if cfg.Banned == nil {
		cfg.Banned = nobody
	}
	if cfg.Spared == nil {
		cfg.Spared = nobody
	}
	return &Handler{cfg: cfg, misses: tries.New(maxMisses, missWindow, missBlock)}
}

// Forgive forgets what a source guessed.
func (h *Handler) Forgive(a netip.Addr) { h.misses.Forgive(a) }

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	src := source(r)
	now := h.cfg.Now()
	e, ok := h.find(r)
	if !ok {
		h.miss(w, src, now)
		return
	}
	// Nobody guesses 128 bits: this is a phone of ours, also if somebody else
	// behind the same NAT is banned.
	doc, err := h.render(r, e, src)
	if err != nil {
		// The path was right: the phone shall try again, and nobody learns more
		// than from a miss.
		h.cfg.Logger.Error("phone configuration not written", "extension", e.Number, "tenant", int64(e.Tenant), "err", err)
		notFound(w)
		return
	}
	h.cfg.Logger.Info("phone configuration fetched", "extension", e.Number, "tenant", int64(e.Tenant), "source", src.String(), "agent", cut(r.UserAgent(), 120))
	hd := w.Header()
	hd.Set("Content-Type", "application/xml; charset=utf-8")
	hd.Set("Cache-Control", "no-store")
	hd.Set("Content-Length", strconv.Itoa(len(doc)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(doc)
	}
}

// find looks the directory and the file up. Whichever of them is wrong, the
// same two lookups are made and the same answer follows (V02).
func (h *Handler) find(r *http.Request) (telephony.Extension, bool) {
	dir, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, Prefix), "/")
	known := len(dir) == pathLength
	if !known {
		dir = strings.Repeat("-", pathLength)
	}
	snap := h.cfg.Snapshot()
	e, found := snap.ExtensionByProvisionPath(dir)
	method := r.Method == http.MethodGet || r.Method == http.MethodHead
	return e, snap.Settings.SetupDone && known && found && method && name == linphoneFile
}

func (h *Handler) miss(w http.ResponseWriter, src netip.Addr, now time.Time) {
	if h.cfg.Spared(src) {
		notFound(w)
		return
	}
	if h.misses.Blocked(src, now) || h.cfg.Banned(src) {
		// The portal's port is not closed for this: silence, as far as HTTP has it.
		panic(http.ErrAbortHandler)
	}
	if until, tripped := h.misses.Wrong(src, now); tripped {
		h.cfg.Logger.Warn("source guesses provisioning paths", "source", src.String(), "until", until)
		if h.cfg.Ban != nil {
			h.cfg.Ban(src, until, "guessed provisioning paths")
		}
	}
	notFound(w)
}

// notFound is the one answer to everything but a hit, as long as there is one.
func notFound(w http.ResponseWriter) {
	const text = "not found\n"
	hd := w.Header()
	hd.Set("Content-Type", "text/plain; charset=utf-8")
	hd.Set("Cache-Control", "no-store")
	hd.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write([]byte(text))
}

func (h *Handler) render(r *http.Request, e telephony.Extension, src netip.Addr) ([]byte, error) {
	tenant, ok := h.cfg.Snapshot().Tenant(e.Tenant)
	if !ok {
		return nil, fmt.Errorf("tenant %d of extension %s is gone", e.Tenant, e.Number)
	}
	service, ok := sipService(h.cfg.Services())
	if !ok {
		return nil, fmt.Errorf("no SIP listener is open")
	}
	actor := telephony.Actor{Kind: telephony.ActorPhone, Name: e.Number, Addr: src}
	password, err := h.cfg.Password(r.Context(), e.Tenant, actor, e.Number)
	if err != nil {
		return nil, err
	}
	return Linphone(Account{
		Number: e.Number, DisplayName: e.DisplayName, Domain: tenant.Domain, Password: password,
		Server: hostname(r.Host), Service: service, Media: e.Media,
	})
}

// sipService picks the listener for a phone: TLS before TCP before UDP, on the
// core side.
func sipService(open []ports.Service) (ports.Service, bool) {
	for _, id := range []ports.ID{ports.SIPTLS, ports.SIPTCP, ports.SIPUDP, ports.EdgeTCP, ports.EdgeUDP} {
		if s, ok := ports.Lookup(open, id); ok {
			return s, true
		}
	}
	return ports.Service{}, false
}

// hostname is a Host header without its port.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.Trim(host, "[]")
}

func source(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// URL is where the phones of an extension fetch their configuration when they
// reach the portal under host (with its port).
func URL(host string, e telephony.Extension) string {
	return "https://" + host + Prefix + e.ProvisionPath + "/" + linphoneFile
}

// QR is text as QR code: a PNG image in a data URL.
func QR(text string) (string, error) {
	png, err := qrcode.Encode(text, qrcode.Medium, 320)
	if err != nil {
		return "", fmt.Errorf("drawing a QR code: %w", err)
	}
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(png), nil
}
