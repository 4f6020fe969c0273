package api

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
	"ringfence/internal/trace"
)

// CallTrace is the SIP messages of a call as a ladder.
type CallTrace struct {
	CallID string      `json:"call_id" doc:"Identifier of the call, live or finished."`
	Lanes  []string    `json:"lanes" nullable:"false" doc:"\"pbx\", and the addresses of the far ends in the order they appear."`
	Steps  []TraceStep `json:"steps" nullable:"false" doc:"The messages, oldest first."`
	Cut    bool        `json:"cut" doc:"The first messages are not kept any more."`
}

// TraceStep is one SIP message.
type TraceStep struct {
	At        time.Time `json:"at"`
	From      string    `json:"from" doc:"Lane of the sender."`
	To        string    `json:"to" doc:"Lane of the receiver."`
	Transport string    `json:"transport" doc:"UDP, TCP, TLS, WS or WSS."`
	Summary   string    `json:"summary" doc:"Method and address, or status."`
	Text      string    `json:"text" doc:"The whole message; secrets are replaced by asterisks."`
}

// TraceSettings say what is kept of SIP messages.
type TraceSettings struct {
	Calls    bool `json:"calls" doc:"Keep the last SIP messages of each call in memory, without their secrets."`
	Messages bool `json:"messages" doc:"Keep the texts of instant messages in them too."`
}

// file is a file to be downloaded.
type file struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

func (s *Server) registerTrace() {
	gone := []int{http.StatusNotFound}
	handle(s, operation{id: "get-call-trace", method: http.MethodGet, path: "/calls/{id}/trace", tag: "live", summary: "SIP messages of a call, live or finished a while ago", access: manageCalls, errors: gone}, s.getTrace)
	handle(s, operation{id: "get-call-capture", method: http.MethodGet, path: "/calls/{id}/trace.pcap", tag: "live", summary: "SIP messages of a call as a packet capture; those of TLS and WebSockets too", access: manageCalls, errors: gone, produces: captureType}, s.getCapture)
	handle(s, operation{id: "get-trace-settings", method: http.MethodGet, path: "/trace", tag: "box", summary: "What is kept of SIP messages", access: systemOnly}, s.getTraceSettings)
	handle(s, operation{id: "put-trace-settings", method: http.MethodPut, path: "/trace", tag: "box", summary: "Change what is kept of SIP messages; switched off, what is kept is forgotten", access: systemOnly}, s.putTraceSettings)
}

const captureType = "application/vnd.tcpdump.pcap"

// traced finds the trace of a call of the caller's tenant.
func (s *Server) traced(ctx context.Context, in *callPath) (trace.Trace, error) {
	t, ok := s.cfg.Live.Trace(callerOf(ctx).tenant, telephony.CallID(in.ID))
	if !ok {
		return t, store.ErrNotFound
	}
	return t, nil
}

func (s *Server) getTrace(ctx context.Context, in *callPath) (*body[CallTrace], error) {
	t, err := s.traced(ctx, in)
	if err != nil {
		return nil, err
	}
	l := t.Ladder()
	out := CallTrace{CallID: in.ID, Lanes: l.Lanes, Steps: make([]TraceStep, len(l.Steps)), Cut: t.Cut}
	for i, x := range l.Steps {
		out.Steps[i] = TraceStep{At: x.Time.UTC(), From: x.From, To: x.To, Transport: x.Protocol, Summary: x.Summary, Text: x.Text}
	}
	return &body[CallTrace]{out}, nil
}

func (s *Server) getCapture(ctx context.Context, in *callPath) (*file, error) {
	t, err := s.traced(ctx, in)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.WritePCAP(&b); err != nil {
		return nil, err
	}
	return &file{captureType, `attachment; filename="call-` + in.ID + `.pcap"`, b.Bytes()}, nil
}

// binary documents the one success of an operation as a file.
func binary(contentType string) map[string]*huma.Response {
	return map[string]*huma.Response{"200": {
		Description: "OK",
		Content:     map[string]*huma.MediaType{contentType: {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
	}}
}

func (s *Server) getTraceSettings(context.Context, *noInput) (*body[TraceSettings], error) {
	now := s.cfg.Store.Snapshot().Settings
	return &body[TraceSettings]{TraceSettings{Calls: now.TraceCalls, Messages: now.TraceMessages}}, nil
}

func (s *Server) putTraceSettings(ctx context.Context, in *struct{ Body TraceSettings }) (*body[TraceSettings], error) {
	err := s.changeSettings(ctx, func(settings *telephony.Settings) error {
		settings.TraceCalls, settings.TraceMessages = in.Body.Calls, in.Body.Messages
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &body[TraceSettings]{in.Body}, nil
}
