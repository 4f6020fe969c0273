package dialplan

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"ringfence/internal/telephony"
)

// Topic is what a step decided about.
type Topic string

// The topics.
const (
	TopicDialled   Topic = "dialled"
	TopicEmergency Topic = "emergency"
	TopicInternal  Topic = "internal"
	TopicNumber    Topic = "number"
	TopicClass     Topic = "class"
	TopicRole      Topic = "role"
	TopicCountry   Topic = "country"
	TopicRule      Topic = "rule"
	TopicTrunk     Topic = "trunk"
	TopicCaller    Topic = "caller"
	TopicHours     Topic = "hours"
	TopicResult    Topic = "result"
)

// Step is one decision, explained.
type Step struct {
	Topic Topic
	OK    bool // the call went on by it; a rule matched; a trunk is tried
	Rule  int64
	Trunk telephony.TrunkID
	Name  string // of the rule or trunk
	Text  string
}

// say adds a step, if steps are wanted.
func (r *resolver) say(topic Topic, ok bool, format string, args ...any) {
	if r.req.Explain {
		r.plan.Steps = append(r.plan.Steps, Step{Topic: topic, OK: ok, Text: fmt.Sprintf(format, args...)})
	}
}

// sayRule explains what became of a rule.
func (r *resolver) sayRule(id int64, name string, ok bool, text string) {
	if r.req.Explain {
		r.plan.Steps = append(r.plan.Steps, Step{Topic: TopicRule, OK: ok, Rule: id, Name: name, Text: text})
	}
}

// sayTrunk explains what became of a trunk.
func (r *resolver) sayTrunk(rule int64, t telephony.Trunk, ok bool, text string) {
	if r.req.Explain {
		r.plan.Steps = append(r.plan.Steps, Step{Topic: TopicTrunk, OK: ok, Rule: rule, Trunk: t.ID, Name: t.Name, Text: text})
	}
}

// Write renders a plan for a terminal: its steps, then what would be sent.
func (p Plan) Write(out io.Writer, trunkName func(telephony.TrunkID) string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range p.Steps {
		mark := "-"
		if s.OK {
			mark = "+"
		}
		text := s.Text
		if s.Name != "" {
			text = fmt.Sprintf("%s: %s", s.Name, text)
		}
		fmt.Fprintf(w, "%s %s\t%s\n", mark, s.Topic, text)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for i, a := range p.Attempts {
		if _, err := fmt.Fprintf(out, "%d. %s: %s\n", i+1, trunkName(a.Trunk), a.line()); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "= %s\n", p.Verdict())
	return err
}

// line is an attempt in one line.
func (a Attempt) line() string {
	parts := []string{"INVITE sip:" + a.Number}
	if a.CallerID != "" {
		parts = append(parts, "From "+a.CallerID)
	}
	if a.Diversion != "" {
		parts = append(parts, "Diversion "+a.Diversion)
	}
	if a.HasRate {
		parts = append(parts, PerMinute(a.Rate).String()+" for a minute")
	}
	return strings.Join(parts, ", ")
}

// Verdict is the plan in a sentence.
func (p Plan) Verdict() string {
	switch p.Outcome {
	case ToExtension:
		return "rings extension " + p.Extension
	case ToOutside:
		kind := string(p.Class) + " call"
		if p.Emergency {
			kind = "emergency call"
		}
		return fmt.Sprintf("%s to %s over %d trunk(s)", kind, p.Number, len(p.Attempts))
	case ToBusy:
		return "is answered with busy"
	case ToHangUp:
		return "is hung up"
	}
	return fmt.Sprintf("refused with %d: %s", p.Refusal.Code, p.Refusal.Reason)
}
