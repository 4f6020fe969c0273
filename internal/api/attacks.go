package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"ringfence/internal/store"
	"ringfence/internal/tally"
	"ringfence/internal/telephony"
	"ringfence/internal/tries"
)

func (s *Server) registerAttacks() {
	handle(s, operation{id: "list-attacks", method: http.MethodGet, path: "/security/attacks", tag: "security", summary: "Journal of attacks: who was banned, when and why, the newest first", access: systemOnly, fields: map[string]string{"address": "query.address"}}, s.listAttacks)
	handle(s, operation{id: "get-attack-summary", method: http.MethodGet, path: "/security/summary", tag: "security", summary: "Attacks in numbers", access: systemOnly}, s.getAttackSummary)
	handle(s, operation{id: "get-packet-history", method: http.MethodGet, path: "/security/history", tag: "security", summary: "Packets that were dropped and let in, over time", access: systemOnly}, s.getPacketHistory)
}

// attackQuery selects a part of the journal.
type attackQuery struct {
	Address string `query:"address" maxLength:"45" doc:"Only this source; an IPv6 address stands for its network of 64 bits."`
	Reason  string `query:"reason" maxLength:"100" doc:"Part of the reason."`
	Before  int64  `query:"before" minimum:"0" default:"0" doc:"Only older entries than the one with this id."`
	Limit   int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

func (s *Server) listAttacks(ctx context.Context, in *attackQuery) (*body[AttackList], error) {
	f := store.AttackFilter{Before: in.Before, Limit: in.Limit, Reason: strings.TrimSpace(in.Reason)}
	if in.Address != "" {
		a, err := address("address", in.Address)
		if err != nil {
			return nil, err
		}
		f.Source = tries.Source(a)
	}
	list, err := s.cfg.Live.Attacks(ctx, f)
	if err != nil {
		return nil, err
	}
	out := AttackList{Items: make([]Attack, 0, len(list))}
	for _, a := range list {
		out.Items = append(out.Items, attackOf(a))
	}
	if len(list) == in.Limit {
		out.Next = list[len(list)-1].ID
	}
	return &body[AttackList]{out}, nil
}

func attackOf(a telephony.Attack) Attack {
	return Attack{
		ID: a.ID, At: a.Since.UTC(), Source: a.Source.String(), Scope: string(a.Scope), Reason: a.Reason, Level: a.Level, Port: a.Port,
		UserAgent: a.Evidence.UserAgent, Target: a.Evidence.Target, Count: a.Evidence.Count, Until: a.Until.UTC(),
	}
}

func (s *Server) getAttackSummary(ctx context.Context, _ *noInput) (*body[AttackSummary], error) {
	n, err := s.cfg.Live.AttacksSince(ctx, time.Now().Add(-time.Hour))
	if err != nil {
		return nil, err
	}
	bans, more := s.cfg.Live.Bans(ctx)
	out := AttackSummary{LastHour: n, Banned: len(bans) + more}
	fine := s.cfg.Live.Packets(ctx, tally.Fine)
	for i, p := range fine {
		var dropped uint64
		for name, n := range p.Counts {
			if strings.HasPrefix(name, dropName) {
				dropped += n
			}
		}
		out.Dropped += dropped
		if recent := len(fine) - i; recent <= 3 && p.Covered > 0 {
			out.Counted, out.Rate = true, float64(dropped)/p.Covered.Seconds()
		}
	}
	return &body[AttackSummary]{out}, nil
}

// Beginnings of the names in a slot's counts.
const (
	dropName = "drop/"
	portName = "port/"
)

// historyQuery selects how far back.
type historyQuery struct {
	Range string `query:"range" enum:"1h,24h,30d" default:"1h" doc:"In steps of ten seconds, five minutes, or an hour."`
}

func (s *Server) getPacketHistory(ctx context.Context, in *historyQuery) (*body[PacketHistory], error) {
	step, merged := tally.Fine, 1
	switch in.Range {
	case "24h":
		step, merged = tally.Minute, 5
	case "30d":
		step = tally.Hour
	}
	return &body[PacketHistory]{historyOf(s.cfg.Live.Packets(ctx, step), step, merged)}, nil
}

// historyOf draws slots as lines, a number of them as one step.
func historyOf(slots []telephony.PacketSlot, step time.Duration, merged int) PacketHistory {
	out := PacketHistory{StepSeconds: int(step.Seconds()) * merged, Times: []int64{}, Known: []bool{}}
	n := (len(slots) + merged - 1) / merged
	drops, rows := map[string]*PacketSeries{}, map[string]*PacketSeries{}
	for i := range n {
		group := slots[i*merged : min((i+1)*merged, len(slots))]
		var covered time.Duration
		for _, p := range group {
			covered += p.Covered
		}
		out.Times, out.Known = append(out.Times, group[0].At.Unix()), append(out.Known, covered > 0)
		for _, p := range group {
			for name, count := range p.Counts {
				in, short := drops, strings.TrimPrefix(name, dropName)
				if strings.HasPrefix(name, portName) {
					in, short = rows, strings.TrimPrefix(name, portName)
				}
				if in[short] == nil {
					in[short] = &PacketSeries{Name: short, Values: make([]float64, n)}
				}
				in[short].Total += count
				if covered > 0 {
					in[short].Values[i] += float64(count) / covered.Seconds()
				}
			}
		}
	}
	out.Drops, out.Ports = sortedSeries(drops), sortedSeries(rows)
	return out
}

// sortedSeries puts the line with the most packets first.
func sortedSeries(m map[string]*PacketSeries) []PacketSeries {
	out := make([]PacketSeries, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, *m[name])
	}
	slices.SortStableFunc(out, func(a, b PacketSeries) int {
		switch {
		case a.Total > b.Total:
			return -1
		case a.Total < b.Total:
			return 1
		}
		return 0
	})
	return out
}
