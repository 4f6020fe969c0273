package api

import (
	"context"
)

// getOwnBans tells whoever is logged in whether the own address is banned
// elsewhere: a person whose phone gets no answer can read why. Others' names and
// programs, which may share the address, are not told. Somebody who may not read
// the list of bans may not lift one either: the ban is the office's, not his.
func (s *Server) getOwnBans(ctx context.Context, _ *noInput) (*body[OwnBans], error) {
	c := callerOf(ctx)
	out := OwnBans{Address: c.addr.String(), MayLift: c.isSystem(), Items: []OwnBan{}}
	all, _ := s.cfg.Live.Bans(ctx)
	for _, b := range all {
		if covers(b.Source, c.addr) {
			out.Items = append(out.Items, OwnBan{Source: b.Source.String(), Scope: string(b.Scope), Reason: b.Reason, Until: b.Until.UTC()})
		}
	}
	return &body[OwnBans]{out}, nil
}
