// Package siptest is a scriptable phone for tests, load tools and drills: it
// speaks SIP over UDP with its own transactions, sends a tone as RTP in real
// time and tells which tones it hears. It shares no code with the PBX.
package siptest

import (
	"context"
	"net/netip"
	"time"
)

// Config describes a phone.
type Config struct {
	Server   netip.AddrPort // where requests go
	User     string         // SIP user name, also for digest
	Password string
	Domain   string // SIP domain; empty means the server's address
	// Tone in Hz is sent in every call; 0 sends silence.
	Tone float64
	// Listen is the address the phone binds; port 0 picks one. Zero means
	// the local address that reaches Server.
	Listen netip.AddrPort
	// Codecs in order of preference: "PCMA", "PCMU". Empty means PCMU, PCMA.
	Codecs []string
	// Log receives one line per message and event; nil logs nothing.
	Log func(format string, args ...any)
}

// TB is what NewPhone needs of *testing.T.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	Cleanup(func())
}

// Phone is one user agent with one UDP socket.
type Phone struct{}

// NewPhone starts a phone for a test: errors are fatal, and it is closed when
// the test ends.
func NewPhone(t TB, c Config) *Phone { return &Phone{} }

// Start starts a phone. The caller must Close it.
func Start(c Config) (*Phone, error) { return &Phone{}, nil }

// Close ends all calls without signalling and frees the sockets.
func (p *Phone) Close() {}

// Addr is the phone's SIP address.
func (p *Phone) Addr() netip.AddrPort { return netip.AddrPort{} }

// Register registers the phone, answering a digest challenge. A refusal is a
// *StatusError.
func (p *Phone) Register(ctx context.Context) error { return nil }

// Unregister removes the phone's binding.
func (p *Phone) Unregister(ctx context.Context) error { return nil }

// StatusError is a final response that was not a success.
type StatusError struct {
	Code   int
	Reason string
}

func (e *StatusError) Error() string { return e.Reason }

// State is where a call stands.
type State string

// The states of a call.
const (
	Calling  State = "calling"  // INVITE sent or received
	Ringing  State = "ringing"  // 180 or 183 sent or received
	Answered State = "answered" // 2xx and ACK
	Ended    State = "ended"
)

// Call is one call of a phone.
type Call struct{}

// Call sends an INVITE for target ("102", "102@domain" or a SIP URI) and
// returns at once; Wait for its state.
func (p *Phone) Call(ctx context.Context, target string) (*Call, error) { return &Call{}, nil }

// WaitCall waits for the next incoming INVITE.
func (p *Phone) WaitCall(ctx context.Context) (*Call, error) { return &Call{}, nil }

// Ring sends 180.
func (c *Call) Ring() error { return nil }

// Progress sends 183 with an answer: early media.
func (c *Call) Progress() error { return nil }

// Answer sends 200 with an answer and retransmits it until the ACK.
func (c *Call) Answer() error { return nil }

// Reject sends a final response of 300..699.
func (c *Call) Reject(code int) error { return nil }

// Cancel cancels an outgoing call.
func (c *Call) Cancel() error { return nil }

// HangUp sends BYE, or CANCEL or 486 before the answer.
func (c *Call) HangUp() error { return nil }

// Hold sends a re-INVITE with sendonly and waits for its answer.
func (c *Call) Hold(ctx context.Context) error { return nil }

// Resume sends a re-INVITE with sendrecv and waits for its answer.
func (c *Call) Resume(ctx context.Context) error { return nil }

// Wait waits until the call has reached state s.
func (c *Call) Wait(ctx context.Context, s State) error { return nil }

// State is the call's state now.
func (c *Call) State() State { return Ended }

// Status is the final status code of the INVITE, 0 before it came.
func (c *Call) Status() int { return 0 }

// Heard analyses what was received so far.
func (c *Call) Heard() Heard { return Heard{} }

// Heard is what a call received.
type Heard struct {
	Packets, Bytes int
	SSRCs          []uint32
	PayloadTypes   []uint8
	Sources        []netip.AddrPort
	Duration       time.Duration // of the analysed audio
	shares         map[float64]float64
}

// Share is the share of the energy at a tone of Tones, 0..1.
func (h Heard) Share(tone float64) float64 { return h.shares[tone] }
