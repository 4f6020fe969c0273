package pbx_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
)

// wsiMessage is what the test reads of a message, typed by hand: it is what
// docs/wsi.md promises.
type wsiMessage struct {
	Type, Topic, Op, Key, Tenant, Code string
	Seq                                int
	Item                               struct {
		State  string
		Reason string `json:"end_reason"`
		Caller struct{ Number string }
	}
	Items []struct{ Key string }
}

// P08: at the port of its own and at /wsi of the portal, over TLS, by a ticket.
func TestWebSocketInterface(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	admin := p.Admin()
	open := func(id ports.ID, path string) (hear func() wsiMessage, say func(string)) {
		t.Helper()
		var ticket struct{ Ticket string }
		if err := admin.Do(t.Context(), "POST", "/wsi/ticket", nil, &ticket); err != nil {
			t.Fatal(err)
		}
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		t.Cleanup(cancel)
		ws, _, err := websocket.Dial(ctx, "wss://"+p.Addr(id).String()+path, &websocket.DialOptions{HTTPClient: c})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.CloseNow() })
		say = func(text string) {
			t.Helper()
			if err := ws.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		hear = func() (m wsiMessage) {
			t.Helper()
			_, raw, err := ws.Read(ctx)
			if ctx.Err() != nil {
				t.Fatal("no message came")
			}
			if err == nil {
				err = json.Unmarshal(raw, &m)
				if err != nil {
					t.Fatal(err)
				}
			}
			return m
		}
		say(`{"type":"auth","ticket":"` + ticket.Ticket + `"}`)
		if m := hear(); m.Type != "welcome" {
			t.Fatalf("%+v", m)
		}
		say(`{"type":"subscribe","topic":"calls"}`)
		if ok, m := hear(), hear(); ok.Type != "ok" || m.Type != "snapshot" || len(m.Items) != 0 {
			t.Fatalf("%+v %+v", ok, m)
		}
		return hear, say
	}
	own, _ := open(ports.WSI, "/")
	portal, say := open(ports.Portal, "/wsi")
	say(`{"type":"subscribe","topic":"cdr"}`)
	portal()
	portal()
	a, b := p.Phone("101", 440), p.Phone("102", 880)
	out, _ := connect(t, a, b, "102")
	for m := own(); m.Item.State != "connected"; m = own() {
		if m.Op != "put" || m.Item.Caller.Number != "101" {
			t.Fatalf("%+v", m)
		}
	}
	if err := out.HangUp(); err != nil {
		t.Fatal(err)
	}
	for m := own(); m.Op != "delete"; m = own() {
		if m.Op != "put" {
			t.Fatalf("%+v", m)
		}
	}
	m := portal()
	for ; m.Topic != "cdr"; m = portal() {
		if m.Topic != "calls" {
			t.Fatalf("%+v", m)
		}
	}
	if m.Item.Reason != "caller_hung_up" {
		t.Errorf("%+v", m)
	}
	// Its port is switched off: who is connected there is told, and gone.
	off := map[string]any{"enabled": false, "port": freePort(t, ports.TCP), "zones": []string{"voice"}, "sources": []string{}}
	if err := admin.Do(t.Context(), "PUT", "/ports/wsi", off, nil); err != nil {
		t.Fatal(err)
	}
	if m := own(); m.Type != "bye" || m.Code != "closing" {
		t.Errorf("%+v", m)
	}
	if m := own(); m.Type != "" {
		t.Errorf("the connection outlives its port: %+v", m)
	}
	follows(t, "the port is closed", func() bool { return !answers(ports.TCP, p.Addr(ports.WSI)) })
	say(`{"type":"ping"}`)
	if m := portal(); m.Type != "pong" {
		t.Errorf("the portal's connection: %+v", m)
	}
}
