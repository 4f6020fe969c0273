package api

import (
	"context"
	"crypto/sha256"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"

	"ringfence/internal/events"
	"ringfence/internal/telephony"
)

// Bounds of event streams.
const (
	maxStreams        = 64 // in all
	maxStreamsSession = 6  // of one session: browser tabs
	streamBuffer      = 256
	streamBeat        = 15 * time.Second // status as a sign of life, session looked at again
)

const eventsPath = "/events"

// eventsQuery names the tenant, as the header does of other requests.
type eventsQuery struct {
	Tenant string `query:"tenant" pattern:"^[0-9]{1,18}$" maxLength:"18" doc:"Instead of the header Ringfence-Tenant, which an EventSource cannot send."`
}

func (s *Server) registerEvents() {
	o := operation{id: "stream-events", method: http.MethodGet, path: eventsPath, tag: "live", summary: "What happens, as server-sent events; the first is the status. The stream ends when the session does, or when the reader is too slow: connect again and read the lists anew", access: manageCalls, stream: true, errors: []int{http.StatusTooManyRequests}}
	s.declare(o)
	op := o.document()
	op.Middlewares = huma.Middlewares{s.boundStreams}
	sse.Register(s.huma, op, map[string]any{
		"registration": RegistrationEvent{},
		"call":         CallEvent{},
		"cdr":          CallRecord{},
		"attack":       Attack{},
		"status":       Status{},
	}, s.streamEvents)
}

// endless lifts the listener's time limits from an answer that never ends.
func endless(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		_ = c.SetReadDeadline(time.Time{})
		_ = c.SetWriteDeadline(time.Time{})
		next.ServeHTTP(&steady{w, c}, r)
	})
}

// steady takes a write's deadline back once the write is out: HTTP/2 resets a
// stream whose deadline passes, though nothing is being written.
type steady struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (s *steady) Flush() {
	_ = s.control.Flush()
	_ = s.control.SetWriteDeadline(time.Time{})
}

func (s *steady) SetWriteDeadline(t time.Time) error { return s.control.SetWriteDeadline(t) }

// boundStreams keeps streams, which never end by themselves, to a number.
func (s *Server) boundStreams(ctx huma.Context, next func(huma.Context)) {
	key := sha256.Sum256([]byte(callerOf(ctx.Context()).cookie))
	if !s.takeStream(key) {
		ctx.SetHeader("Retry-After", "30")
		_ = huma.WriteErr(s.huma, ctx, http.StatusTooManyRequests, "too many event streams are open")
		return
	}
	defer s.giveStream(key)
	next(ctx)
}

func (s *Server) takeStream(session [32]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streamsAll >= maxStreams || s.streams[session] >= maxStreamsSession {
		return false
	}
	s.streamsAll++
	s.streams[session]++
	return true
}

func (s *Server) giveStream(session [32]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streamsAll--
	if s.streams[session]--; s.streams[session] <= 0 {
		delete(s.streams, session)
	}
}

// streamEvents sends what concerns the caller's tenant until the reader, the
// session or the server ends it.
func (s *Server) streamEvents(ctx context.Context, _ *eventsQuery, send sse.Sender) {
	c := callerOf(ctx)
	sub := s.cfg.Bus.Subscribe(streamBuffer)
	defer sub.Close()
	beat := time.NewTicker(s.beat)
	defer beat.Stop()
	if send.Data(s.statusFor(c)) != nil {
		return
	}
	for {
		var out any
		select {
		case <-ctx.Done():
			return
		case <-s.closing:
			return
		case <-beat.C:
			if !s.stillWelcome(ctx, c) {
				return
			}
			out = s.statusFor(c)
		case e := <-sub.C:
			if sub.Lost() > 0 {
				return
			}
			out = s.eventFor(c, e)
		}
		if out != nil && send.Data(out) != nil {
			return
		}
	}
}

// stillWelcome looks at the session again without counting as its use: an open
// dashboard alone keeps nobody logged in.
func (s *Server) stillWelcome(ctx context.Context, c caller) bool {
	if c.token != "" {
		t, u, err := s.cfg.Login.Token(ctx, c.addr, c.cookie)
		rights, _ := s.cfg.Store.Snapshot().Role(u.Tenant, u.Role)
		return err == nil && u.Role == c.session.User.Role && manageCalls.grantedTo(rights.CutDown(t.Permissions)) && s.stillThere(c)
	}
	kept, u, err := s.cfg.Store.SessionByHash(ctx, sha256.Sum256([]byte(c.cookie)))
	now, settings := time.Now(), s.cfg.Store.Snapshot().Settings
	return err == nil && now.Before(kept.Expires) && now.Sub(kept.Seen) < settings.SessionIdle &&
		u.Role == c.session.User.Role && !u.MustChangePassword && s.stillThere(c)
}

// stillThere looks whether the role still allows a stream and the tenant is there.
func (s *Server) stillThere(c caller) bool {
	snap := s.cfg.Store.Snapshot()
	r, _ := snap.Role(c.session.User.Tenant, c.session.User.Role)
	_, ok := snap.Tenant(c.tenant)
	return manageCalls.grantedTo(r) && (ok || c.tenant == telephony.System)
}

// eventFor is e as a caller may see it, or nil.
func (s *Server) eventFor(c caller, e events.Event) any {
	tenant := c.tenant
	switch e := e.(type) {
	case events.RegistrationChanged:
		t, ok := s.cfg.Store.Snapshot().TenantByDomain(e.AOR.Domain)
		if !ok || t.ID != tenant {
			return nil
		}
		return RegistrationEvent{Number: e.AOR.User, Registrations: e.Bindings}
	case events.CallStarted:
		return callEvent(tenant, e.Call)
	case events.CallChanged:
		return callEvent(tenant, e.Call)
	case events.CallAlarm:
		return callEvent(tenant, e.Call)
	case events.CallEnded:
		if e.Record.Tenant != tenant {
			return nil
		}
		return recordOf(e.Record)
	case events.AddressBanned:
		if !c.isSystem() {
			return nil
		}
		return ShowAttack(e)
	case events.SettingApplied, events.SettingsTakenBack:
		return s.statusFor(c)
	}
	return nil
}

func callEvent(tenant telephony.TenantID, c telephony.LiveCall) any {
	if c.Tenant != tenant {
		return nil
	}
	return CallEvent{Call: callOf(c)}
}
