package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/telephony"
)

// stream is an open event stream.
type stream struct {
	t        *testing.T
	lines    chan string
	res      *http.Response
	patience time.Duration
}

func openStream(t *testing.T, srv *httptest.Server, c *client) *stream {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+Base+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.AddCookie(&http.Cookie{Name: CookieName, Value: c.cookie})
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	s := &stream{t: t, lines: make(chan string, 64), res: res, patience: 5 * time.Second}
	go func() {
		defer close(s.lines)
		in := bufio.NewScanner(res.Body)
		for in.Scan() {
			s.lines <- in.Text()
		}
	}()
	return s
}

// next is the following event's name and data; "" at the end of the stream.
func (s *stream) next(data any) string {
	s.t.Helper()
	name := ""
	for {
		select {
		case line, ok := <-s.lines:
			if !ok {
				return ""
			}
			if v, is := strings.CutPrefix(line, "event: "); is {
				name = v
			}
			if v, is := strings.CutPrefix(line, "data: "); is {
				if data != nil {
					if err := json.Unmarshal([]byte(v), data); err != nil {
						s.t.Fatal(err)
					}
				}
				return name
			}
		case <-time.After(s.patience):
			s.t.Fatal("no event came")
		}
	}
}

func TestEventsOfTheOwnTenantArrive(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	srv := httptest.NewServer(b)
	defer srv.Close()
	s := openStream(t, srv, boss)
	if ct := s.res.Header.Get("Content-Type"); s.res.StatusCode != 200 || ct != "text/event-stream" {
		t.Fatalf("%d %s", s.res.StatusCode, ct)
	}
	var st Status
	if s.next(&st) != "status" || st.Version != "1.2.3" {
		t.Errorf("%+v", st)
	}
	b.bus.Publish(events.RegistrationChanged{AOR: telephony.AOR{User: "201", Domain: "other.example"}, Bindings: 1})
	b.bus.Publish(events.CallStarted{Call: telephony.LiveCall{ID: "theirs", Tenant: 2}})
	b.bus.Publish(events.CallEnded{Record: telephony.CallRecord{ID: "theirs", Tenant: 2}})
	b.bus.Publish(events.RegistrationChanged{AOR: telephony.AOR{User: "101", Domain: "pbx.example"}, Bindings: 2})
	var r RegistrationEvent
	if s.next(&r) != "registration" || r.Number != "101" || r.Registrations != 2 {
		t.Errorf("%+v", r)
	}
	b.bus.Publish(events.CallStarted{Call: telephony.LiveCall{ID: "ours", Tenant: 1, State: telephony.CallRinging, Caller: telephony.Party{Name: "A\r\nevent: fake\r\ndata: {}"}}})
	var c CallEvent
	if s.next(&c) != "call" || c.Call.ID != "ours" || c.Call.Caller.Name != "A\r\nevent: fake\r\ndata: {}" {
		t.Errorf("%+v", c)
	}
	b.bus.Publish(events.CallEnded{Record: telephony.CallRecord{ID: "ours", Tenant: 1}})
	var cdr CallRecord
	if s.next(&cdr) != "cdr" || cdr.ID != "ours" {
		t.Errorf("%+v", cdr)
	}
	b.bus.Publish(events.AddressBanned{Addr: netip.MustParseAddr("192.0.2.66"), Scope: telephony.BanSIP, Reason: "attack tool", Level: 1, Port: "udp 5060",
		Evidence: telephony.Evidence{UserAgent: "x\r\nevent: fake\r\ndata: <script>"}})
	var a Attack
	if s.next(&a) != "attack" || a.Source != "192.0.2.66" || a.Level != 1 || a.Port != "udp 5060" || a.UserAgent != "x\r\nevent: fake\r\ndata: <script>" {
		t.Errorf("%+v", a)
	}
	b.bus.Publish(events.SettingApplied{Subsystem: "sip"})
	if s.next(nil) != "status" {
		t.Error("no status after a change")
	}
	b.Close()
	if got := s.next(nil); got != "" {
		t.Errorf("after Close came %q", got)
	}
}

func TestEventStreamsAreBounded(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	srv := httptest.NewServer(b)
	defer srv.Close()
	var open []*stream
	for i := range maxStreamsSession {
		s := openStream(t, srv, boss)
		if s.res.StatusCode != 200 {
			t.Fatalf("stream %d: %d", i, s.res.StatusCode)
		}
		open = append(open, s)
	}
	s := openStream(t, srv, boss)
	if s.res.StatusCode != http.StatusTooManyRequests || s.res.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d", s.res.StatusCode)
	}
	open[0].res.Body.Close()
	for range 100 {
		if s := openStream(t, srv, boss); s.res.StatusCode == 200 {
			b.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("a closed stream does not make room")
}

func TestEventStreamEndsWithItsSession(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.beat = 20 * time.Millisecond
	boss := b.setUp()
	srv := httptest.NewServer(b)
	defer srv.Close()
	s := openStream(t, srv, boss)
	if s.next(nil) != "status" || s.next(nil) != "status" {
		t.Error("no sign of life")
	}
	boss.must(http.StatusNoContent, "DELETE", "/session", nil, nil)
	for range 100 {
		if s.next(nil) == "" {
			return
		}
	}
	t.Error("the stream outlives the session")
}

// A reader that does not keep up loses the stream, not events silently.
func TestSlowReaderLosesTheStream(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	sub := b.bus.Subscribe(1)
	defer sub.Close()
	_ = boss
	done := make(chan struct{})
	go func() {
		defer close(done)
		w := &stuck{header: http.Header{}, first: make(chan struct{}), release: make(chan struct{})}
		go func() {
			<-w.first
			for i := range streamBuffer * 3 {
				b.bus.Publish(events.RegistrationChanged{AOR: telephony.AOR{User: fmt.Sprint(i), Domain: "pbx.example"}})
			}
			close(w.release)
		}()
		b.ServeHTTP(w, boss.request("GET", "/events", nil))
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("the stream goes on with events missing")
	}
}

// stuck is a response whose first flush blocks until it is released.
type stuck struct {
	header         http.Header
	first, release chan struct{}
	flushed        bool
}

func (s *stuck) Header() http.Header         { return s.header }
func (s *stuck) WriteHeader(int)             {}
func (s *stuck) Write(b []byte) (int, error) { return len(b), nil }
func (s *stuck) Flush() {
	if !s.flushed {
		s.flushed = true
		close(s.first)
		<-s.release
	}
}
func (s *stuck) SetWriteDeadline(time.Time) error { return nil }

// Streams outlive the listener's time limits, on HTTP/1.1 and HTTP/2, also
// when nothing happens for longer than a write may take.
func TestEventStreamsOutliveTimeLimits(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2=%v", h2), func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			b.beat = 6 * time.Second // longer than one write may take
			boss := b.setUp()
			srv := httptest.NewUnstartedServer(b)
			srv.EnableHTTP2 = h2
			srv.Config.ReadTimeout, srv.Config.WriteTimeout = time.Second, time.Second
			srv.StartTLS()
			defer srv.Close()
			s := openStream(t, srv, boss)
			if (s.res.ProtoMajor == 2) != h2 {
				t.Fatal(s.res.Proto)
			}
			s.patience = 10 * time.Second
			for i := range 3 {
				if got := s.next(nil); got != "status" {
					t.Fatalf("event %d: %q", i, got)
				}
			}
			b.Close()
			for range 3 {
				if s.next(nil) == "" {
					return
				}
			}
			t.Error("the stream outlives the server")
		})
	}
}

// The media of a call went bad: the call is told again, with the alarm and what
// was measured, to its own tenant only.
func TestAlarmsOfTheOwnTenantArrive(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	srv := httptest.NewServer(b)
	defer srv.Close()
	defer b.Close()
	s := openStream(t, srv, boss)
	if name := s.next(nil); name != "status" {
		t.Fatalf("first event %q", name)
	}
	b.bus.Publish(events.CallAlarm{Call: telephony.LiveCall{ID: "theirs", Tenant: 2, Alarm: telephony.AlarmBad}})
	b.bus.Publish(events.CallAlarm{Call: telephony.LiveCall{
		ID: "ours", Tenant: 1, State: telephony.CallConnected, Alarm: telephony.AlarmOneWay,
		CallerLeg: telephony.LegQuality{
			Codec: "PCMU", Suite: "AEAD_AES_256_GCM", MOS: 4.3771, ToMOS: 2.1, Reported: true,
			History: []telephony.MOSPoint{{From: 43, To: 21}}, Step: 5 * time.Second,
		},
	}})
	var e CallEvent
	if name := s.next(&e); name != "call" || e.Call.ID != "ours" || e.Call.Alarm != "one_way_audio" {
		t.Fatalf("%q %+v", name, e)
	}
	q := e.Call.CallerLeg
	if q.MOS != 4.38 || q.ToMOS != 2.1 || q.Suite != "AEAD_AES_256_GCM" || q.History.StepSeconds != 5 || q.History.From[0] != 4.3 || q.History.To[0] != 2.1 {
		t.Errorf("%+v", q)
	}
	if e.Call.CalleeLeg.History.From == nil {
		t.Error("a history that is not there is no list")
	}
}
