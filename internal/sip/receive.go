package sip

import (
	"errors"
	"log/slog"
	"net"
	"time"
)

// handle runs on a worker: everything of one message up to the transaction
// user.
func (e *Endpoint) handle(f Flow, raw []byte, came time.Time) {
	e.traced(false, f, raw)
	m, err := parse(raw, f)
	switch {
	case err != nil:
		e.junked(f)
		if e.cfg.Refused != nil {
			e.cfg.Refused(f, "")
		}
	case m.res != nil:
		e.stats.responses.Add(1)
		e.handleResponse(&m)
	default:
		e.stats.requests.Add(1)
		e.handleRequest(&m, came)
	}
}

// handleResponse gives a response to the client transaction that waits for it
// (RFC 3261 section 17.1.3); all others are dropped, as a broadcast scan or a
// late answer may be.
func (e *Endpoint) handleResponse(m *parsed) {
	r := m.res
	if m.fault != "" || len(r.Vias) != 1 || r.CSeq.Method == "" {
		// More than one Via: not for us (section 8.1.3.3).
		e.stats.malformed.Add(1)
		return
	}
	tx := e.txs.client(r.Vias[0].Branch(), r.CSeq.Method)
	if tx == nil {
		e.stats.stray.Add(1)
		return
	}
	tx.receive(r)
}

func (e *Endpoint) handleRequest(m *parsed, came time.Time) {
	r := m.req
	tx := &ServerTx{e: e, req: r, came: came}
	if m.fault == "" && len(r.Vias) > 0 {
		tx.key = e.txs.key(r, r.Method)
		if e.txs.absorb(tx) {
			return
		}
	}
	if e.cfg.Screen != nil && r.Method != ACK && r.Method != CANCEL && r.To.Tag() == "" && !e.cfg.Screen(r) {
		e.stats.gated.Add(1)
		return
	}
	if refusal := validate(m); refusal != nil {
		if refusal.Code == 400 {
			e.stats.malformed.Add(1)
			if e.cfg.Refused != nil {
				e.cfg.Refused(r.Flow, r.Header("User-Agent"))
			}
		}
		if r.Method != ACK && r.Has("Via") {
			tx.Reply(*refusal)
		}
		return
	}
	switch {
	case r.Method == CANCEL:
		e.cancel(tx)
	case r.Method == OPTIONS && r.To.Tag() == "":
		tx.Reply(Capabilities())
	default:
		e.serve(tx)
	}
}

func (e *Endpoint) serve(tx *ServerTx) {
	h, ok := e.handlers[tx.req.Method]
	if !ok {
		h = e.fallback
	}
	switch {
	case h != nil:
		h.ServeSIP(tx)
	case tx.req.Method != ACK:
		tx.Reply(Unhandled(tx.req.Method))
	}
}

// Capabilities is the answer to OPTIONS (RFC 3261 section 11.2). It is the same
// whoever is asked for, so that it tells nothing about who exists.
func Capabilities() Reply {
	return Reply{Code: 200, Headers: []Header{Allow(), {"Accept", "application/sdp"}, {"Accept-Encoding", "identity"}, {"Accept-Language", "en"}, {"Supported", "100rel, timer, replaces, norefersub"}, AllowEvents()}}
}

// Unhandled refuses a method: 405 if it is one of SIP's, 501 if nobody knows
// it (RFC 3261 sections 8.2.1 and 21.5.2).
func Unhandled(method string) Reply {
	switch method {
	case INVITE, BYE, OPTIONS, REGISTER, INFO, MESSAGE, NOTIFY, PRACK, PUBLISH, REFER, SUBSCRIBE, UPDATE:
		return Reply{Code: 405, Headers: []Header{Allow()}}
	}
	return Reply{Code: 501, Headers: []Header{Allow()}}
}

// cancel answers a CANCEL for the INVITE it matches (RFC 3261 section 9.2).
func (e *Endpoint) cancel(tx *ServerTx) {
	invite := e.txs.invite(tx.req)
	if invite == nil || invite.req.Flow.Remote.Addr() != tx.req.Flow.Remote.Addr() {
		tx.Reply(Reply{Code: 481})
		return
	}
	tx.Reply(Reply{Code: 200, Tag: invite.Tag()})
	invite.cancelled()
}

// send writes a message to f and counts failures; the retransmissions and
// time-outs of the transactions take care of the rest.
func (e *Endpoint) send(f Flow, b []byte) error {
	if f.transport == nil {
		return ErrFlowGone
	}
	e.traced(true, f, b)
	err := f.transport.Send(f, b)
	if errors.Is(err, net.ErrClosed) && f.Token == "" {
		// The listener was opened anew since; a datagram may use that.
		if l, ok := e.listenerFor(f.Listener, f.Local); ok && l.transport != f.transport {
			f.transport = l.transport
			err = f.transport.Send(f, b)
		}
	}
	if err != nil {
		e.stats.sendErrors.Add(1)
		e.log.Debug("sending a SIP message failed", slog.Any("error", err))
	}
	return err
}
