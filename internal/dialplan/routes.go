package dialplan

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"ringfence/internal/telephony"
)

// attempts are the trunks of a rule that can carry the call now, in its order.
func (r *resolver) attempts(rule *telephony.OutboundRule, n *number) []Attempt {
	routes := rule.Routes[:min(len(rule.Routes), telephony.MaxRoutes)]
	out := make([]Attempt, 0, len(routes))
	for _, route := range routes {
		t, ok := r.snap.Trunk(r.req.Tenant, route.Trunk)
		switch {
		case !ok:
			t.ID = route.Trunk
			r.sayTrunk(rule.ID, t, false, "does not exist")
			continue
		case !t.Enabled:
			r.sayTrunk(rule.ID, t, false, "is switched off")
			continue
		case r.down(t.ID):
			r.sayTrunk(rule.ID, t, false, "does not answer now")
			continue
		}
		a := Attempt{Trunk: t.ID, Rule: rule.ID, Number: change(r.dial.write(n, t.Format), route)}
		if a.Number == "" || a.Number == "+" {
			r.sayTrunk(rule.ID, t, false, fmt.Sprintf("takes away %d digits, so that nothing is left", route.Strip))
			continue
		}
		a.CallerID, a.Diversion = r.identity(t, route)
		a.Rate, a.HasRate = rateOf(t.Rates, n.digits)
		out = append(out, a)
	}
	r.sort(rule, out)
	if r.req.Explain {
		for _, a := range out {
			t, _ := r.snap.Trunk(r.req.Tenant, a.Trunk)
			r.sayTrunk(rule.ID, t, true, "is tried: "+a.line())
		}
	}
	return out
}

// sort puts the attempts in the order that the rule wants. What has no rate comes
// after what has one.
func (r *resolver) sort(rule *telephony.OutboundRule, list []Attempt) {
	switch rule.Order {
	case telephony.OrderCheapest:
		slices.SortStableFunc(list, func(a, b Attempt) int {
			if a.HasRate != b.HasRate {
				if a.HasRate {
					return -1
				}
				return 1
			}
			return cmp.Compare(PerMinute(a.Rate), PerMinute(b.Rate))
		})
	case telephony.OrderRandom:
		random := rand.New(rand.NewPCG(r.req.Seed, uint64(rule.ID)))
		random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
}

// change strips digits, a + in front with the first of them, and puts others in
// their place.
func change(number string, route telephony.Route) string {
	if route.Strip > 0 {
		number = strings.TrimPrefix(number, "+")
		number = number[min(route.Strip, len(number)):]
		if number == "" {
			return ""
		}
	}
	return route.Prepend + number
}

// rateOf is the rate with the longest prefix. Rates are sorted by prefix.
func rateOf(rates []telephony.Rate, digits string) (telephony.Rate, bool) {
	for n := len(digits); n > 0 && len(rates) > 0; n-- {
		i := sort.Search(len(rates), func(i int) bool { return rates[i].Prefix >= digits[:n] })
		if i < len(rates) && rates[i].Prefix == digits[:n] {
			return rates[i], true
		}
	}
	return telephony.Rate{}, false
}

// PerMinute is what a call of one minute costs.
func PerMinute(rate telephony.Rate) Price { return Price(Cost(rate, time.Minute)) }

// Cost is what an answered call of some duration costs: the connection, then
// First in any case and every begun Next.
func Cost(rate telephony.Rate, d time.Duration) telephony.Money {
	first, next := max(rate.First, time.Second), max(rate.Next, time.Second)
	charged := first
	if d > first {
		charged += (d - first + next - 1) / next * next
	}
	seconds := int64(charged / time.Second)
	return rate.Connect + telephony.Money((int64(rate.Minute)*seconds+59)/60)
}

// Price is money to be read by people.
type Price telephony.Money

func (p Price) String() string {
	s := fmt.Sprintf("%d.%06d", p/1e6, p%1e6)
	for strings.HasSuffix(s, "0") && len(s)-strings.IndexByte(s, '.') > 3 {
		s = s[:len(s)-1]
	}
	return s
}

// identity is the number that a call shows on a trunk, and that of who sent it
// on, both as the trunk wants them.
func (r *resolver) identity(t telephony.Trunk, route telephony.Route) (caller, diversion string) {
	own := cmp.Or(route.CallerID, r.direct(t, r.req.Caller.Number), t.CallerID)
	if from := r.req.From; from != "" && from != r.req.Caller.Number {
		diversion = r.spell(own, t)
		if from[0] != '+' {
			from = r.direct(t, from)
		}
		if t.KeepCallerID && from != "" {
			own = from
		}
	}
	return r.spell(own, t), diversion
}

// spell writes a number in E.164 as a trunk wants it.
func (r *resolver) spell(number string, t telephony.Trunk) string {
	digits, ok := strings.CutPrefix(number, "+")
	if !ok {
		return number
	}
	n, refusal := r.dial.abroad(digits, "")
	if refusal.Code != 0 || n.emergency != "" {
		return number
	}
	return r.dial.write(&n, t.Format)
}

// ownNumber is a number that reaches an extension without detour, and the rule
// that says so.
type ownNumber struct {
	rule   *telephony.InboundRule
	number string
}

// direct is the number of a trunk that reaches an extension.
func (r *resolver) direct(t telephony.Trunk, extension string) string {
	if extension != r.ownOf {
		r.own, r.ownOf = r.numbersOf(extension), extension
	}
	for _, n := range r.own {
		if (len(n.rule.Trunks) == 0 || slices.Contains(n.rule.Trunks, t.ID)) && within(t.DIDs, n.number) {
			return n.number
		}
	}
	return ""
}

// numbersOf are the numbers that reach an extension: an inbound rule names it, or
// a range does.
func (r *resolver) numbersOf(extension string) (out []ownNumber) {
	for i := range r.routing.Inbound {
		rule := &r.routing.Inbound[i]
		if !rule.Enabled || len(rule.DIDs) == 0 {
			continue
		}
		switch rule.Open.Kind {
		case telephony.ToExtension:
			if rule.Open.Number == extension {
				out = append(out, ownNumber{rule, rule.DIDs[0].First})
			}
		case telephony.ToDirect:
			if n := back(rule.DIDs, rule.Open.Number, extension); n != "" {
				out = append(out, ownNumber{rule, n})
			}
		}
	}
	return out
}

// forth is the extension that a number of direct-inward ranges reaches: first is
// that of the first number, and the ranges follow one another.
func forth(ranges []telephony.NumberRange, first, number string) string {
	var before uint64
	for _, n := range ranges {
		size, start, ok := span(n)
		if !ok {
			continue
		}
		if n.Has(number) {
			at, err := strconv.ParseUint(strings.TrimPrefix(number, "+"), 10, 64)
			ext, err2 := strconv.ParseUint(first, 10, 64)
			if err != nil || err2 != nil {
				return ""
			}
			return pad(ext+before+at-start, len(first))
		}
		before += size
	}
	return ""
}

// back is the number that reaches an extension.
func back(ranges []telephony.NumberRange, first, extension string) string {
	ext, err := strconv.ParseUint(extension, 10, 64)
	from, err2 := strconv.ParseUint(first, 10, 64)
	if err != nil || err2 != nil || len(first) != len(extension) || ext < from {
		return ""
	}
	offset := ext - from
	for _, n := range ranges {
		size, start, ok := span(n)
		if !ok {
			continue
		}
		if offset < size {
			return "+" + pad(start+offset, len(n.First)-1)
		}
		offset -= size
	}
	return ""
}

// span is how many numbers a range has, and its first.
func span(n telephony.NumberRange) (size, start uint64, ok bool) {
	last := cmp.Or(n.Last, n.First)
	a, err := strconv.ParseUint(strings.TrimPrefix(n.First, "+"), 10, 64)
	b, err2 := strconv.ParseUint(strings.TrimPrefix(last, "+"), 10, 64)
	if err != nil || err2 != nil || b < a || len(last) != len(n.First) || !strings.HasPrefix(n.First, "+") {
		return 0, 0, false
	}
	return b - a + 1, a, true
}

func pad(n uint64, width int) string { return fmt.Sprintf("%0*d", width, n) }
