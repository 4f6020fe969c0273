package api

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ringfence/internal/ports"
)

// packetCheck says in words what becomes of a packet, and why.
func (s *Server) packetCheck(q PacketQuestion, f PacketFate, c AddressCheck) *PacketCheck {
	out := &PacketCheck{Accepted: f.Accepted, Rules: append([]string{}, f.Steps...)}
	_, out.Cause, _ = strings.Cut(f.Cause, "/")
	out.Explanation = s.why(q, f, out.Cause, c)
	return out
}

func (s *Server) why(q PacketQuestion, f PacketFate, cause string, c AddressCheck) string {
	at := fmt.Sprintf("%s %d", q.Proto, q.Port)
	switch {
	case f.Accepted && cause == "":
		return fmt.Sprintf("Let in: the packet filter does not filter %s by port.", at)
	case f.Accepted:
		name := cause
		if row, ok := ports.Lookup(ports.Table(), ports.ID(cause)); ok {
			name = row.Name
		}
		return fmt.Sprintf("Let in: %s is open to it (%s).", at, name)
	case cause == "block" && c.Rule != nil:
		note := ""
		if c.Rule.Note != "" {
			note = ": " + c.Rule.Note
		}
		return fmt.Sprintf("Dropped: the list of addresses blocks %s%s.", c.Rule.Network, note)
	case strings.HasPrefix(cause, "ban_"):
		return s.whyBanned(strings.TrimPrefix(cause, "ban_"), f.Left, c)
	case cause == "rest":
		return s.whyClosed(q, at)
	}
	return fmt.Sprintf("Dropped: %s.", cause)
}

func (s *Server) whyBanned(scope string, left time.Duration, c AddressCheck) string {
	reason := "no reason is noted"
	if i := slices.IndexFunc(c.Bans, func(b Ban) bool { return b.Scope == scope }); i >= 0 {
		reason = c.Bans[i].Reason
	}
	return fmt.Sprintf("Dropped: it is banned from %s for another %s: %s.", closedTo(scope), left.Round(time.Second), reason)
}

// whyClosed looks for the row that has the port.
func (s *Server) whyClosed(q PacketQuestion, at string) string {
	for _, p := range s.cfg.Live.Ports() {
		row := p.Service
		if row.Proto != q.Proto || q.Port < row.First || q.Port > row.Last {
			continue
		}
		switch {
		case row.Wrap == ports.RTP && len(row.Sources) == 0:
			return fmt.Sprintf("Dropped: %s is for media, and no call holds it now.", at)
		case len(row.Sources) > 0:
			return fmt.Sprintf("Dropped: %s (%s) is open to certain networks only, and not to this address, or not to where it comes from.", at, row.Name)
		}
		return fmt.Sprintf("Dropped: %s (%s) is open, but not to the zone that the packet comes from.", at, row.Name)
	}
	return fmt.Sprintf("Dropped: no service is open on %s.", at)
}
