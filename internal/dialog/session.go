package dialog

import (
	"strconv"
	"strings"
	"time"

	"ringfence/internal/sip"
)

// SessionTimer are the wishes for session timers (RFC 4028).
type SessionTimer struct {
	Interval time.Duration // Session-Expires; 0 means 1,800 s
	Min      time.Duration // Min-SE; 0 means 90 s, the least there is
	Refuse   bool          // there are none, as if we did not know them
	Require  bool          // no session without
}

func (s SessionTimer) orDefaults() SessionTimer {
	if s.Interval <= 0 {
		s.Interval = 1800 * time.Second
	}
	s.Min = max(s.Min, 90*time.Second) // section 5
	s.Interval = max(s.Interval, s.Min)
	return s
}

// shortest is the least interval that a peer's 2xx may impose on us.
const shortest = 10 * time.Second

// session is the session timer of one leg.
type session struct {
	interval time.Duration // 0: there is none
	ours     bool          // we refresh
	least    time.Duration // the highest Min-SE a 422 of the peer has asked for
	expires  time.Time     // when the leg is ended, a little before the session
	run      int           // which timer run is valid
	timer    *time.Timer
}

func (s *session) stop() {
	s.interval = 0
	s.run++
	if s.timer != nil {
		s.timer.Stop()
	}
}

// refusal is the answer to an INVITE or UPDATE whose wishes for a session timer
// do not go with ours, or nil.
func (w SessionTimer) refusal(r *sip.Request, initial bool) *sip.Reply {
	se, _, ok := sessionExpires(r.Header("Session-Expires"))
	switch {
	case w.Refuse && hasToken(r.Values("Require"), "timer"):
		// RFC 3261 section 8.2.2.3
		return &sip.Reply{Code: 420, Headers: []sip.Header{{Name: "Unsupported", Value: "timer"}}}
	case w.Refuse:
	case !knowsTimer(r) && w.Require && initial:
		// RFC 3261 section 21.4.16
		return &sip.Reply{Code: 421, Headers: []sip.Header{{Name: "Require", Value: "timer"}}}
	case ok && se < w.Min && knowsTimer(r):
		// RFC 4028 section 9: the peer can do something about it.
		return &sip.Reply{Code: 422, Headers: []sip.Header{{Name: "Min-SE", Value: seconds(w.Min)}}}
	}
	return nil
}

func knowsTimer(r *sip.Request) bool {
	return hasToken(r.Values("Supported"), "timer") || hasToken(r.Values("Require"), "timer")
}

// sessionExpires reads a Session-Expires header.
func sessionExpires(v string) (d time.Duration, refresher string, ok bool) {
	n, err := strconv.ParseUint(delta(v), 10, 31)
	if err != nil || n == 0 {
		return 0, "", false
	}
	_, params, _ := strings.Cut(v, ";")
	for p := range strings.SplitSeq(params, ";") {
		if k, x, _ := strings.Cut(p, "="); strings.EqualFold(strings.TrimSpace(k), "refresher") {
			refresher = strings.ToLower(strings.TrimSpace(x))
		}
	}
	return time.Duration(n) * time.Second, refresher, true
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

// askSession are the headers of an INVITE or UPDATE of ours (RFC 4028 section
// 7.1); who refreshes stays as it is (section 7.4).
func (l *Leg) askSession() []sip.Header {
	own, s := l.params.Session, &l.session
	if own.Refuse {
		return nil
	}
	interval, role := s.interval, ";refresher=uas"
	if interval == 0 {
		interval, role = own.Interval, "" // the peer may choose
	} else if s.ours {
		role = ";refresher=uac"
	}
	least := max(s.least, own.Min)
	h := []sip.Header{{Name: "Session-Expires", Value: seconds(max(interval, least)) + role}}
	if least > 90*time.Second {
		h = append(h, sip.Header{Name: "Min-SE", Value: seconds(least)})
	}
	if own.Require {
		h = append(h, sip.Header{Name: "Require", Value: "timer"})
	}
	return h
}

// raise takes the Min-SE of a 422, and reports whether trying again makes sense
// (RFC 4028 section 7.3).
func (l *Leg) raise(r *sip.Response) bool {
	n, err := strconv.ParseUint(delta(r.Header("Min-SE")), 10, 31)
	least := time.Duration(n) * time.Second
	if err != nil || least <= max(l.session.least, l.params.Session.Min) || least > 24*time.Hour {
		return false
	}
	l.session.least = least
	return true
}

// answerSession negotiates the session timer as the UAS of an INVITE or UPDATE
// and returns the headers of the 2xx (RFC 4028 section 9). A peer without
// timers gets none, unless a proxy wants one: then we refresh.
func (l *Leg) answerSession(r *sip.Request) []sip.Header {
	own := l.params.Session
	se, refresher, asked := sessionExpires(r.Header("Session-Expires"))
	knows := knowsTimer(r)
	if own.Refuse || !knows && (!asked || se < own.Min) {
		l.session.stop()
		return nil
	}
	interval := own.Interval
	if n, err := strconv.ParseUint(delta(r.Header("Min-SE")), 10, 31); err == nil {
		interval = max(interval, min(time.Duration(n)*time.Second, 24*time.Hour))
	}
	if asked {
		interval = min(interval, se)
	}
	ours := !knows || refresher == "uas"
	l.startSession(interval, ours)
	if ours {
		return []sip.Header{{Name: "Session-Expires", Value: seconds(interval) + ";refresher=uas"}}
	}
	return []sip.Header{
		{Name: "Require", Value: "timer"},
		{Name: "Session-Expires", Value: seconds(interval) + ";refresher=uac"},
	}
}

// agreeSession takes what the 2xx to an INVITE or UPDATE of ours says.
func (l *Leg) agreeSession(r *sip.Response) {
	interval, refresher, ok := sessionExpires(r.Header("Session-Expires"))
	if !ok || interval < shortest || l.params.Session.Refuse {
		l.session.stop()
		return
	}
	l.startSession(interval, refresher != "uas")
}

// startSession starts or restarts the timer: whoever refreshes does so at half
// time (section 10), and the leg ends a little before the session would.
func (l *Leg) startSession(interval time.Duration, ours bool) {
	s := &l.session
	s.stop()
	s.interval, s.ours = interval, ours
	life := interval - min(32*time.Second, interval/3)
	s.expires = time.Now().Add(life)
	if ours {
		life = interval / 2
	}
	l.sessionAfter(life)
}

func (l *Leg) sessionAfter(d time.Duration) {
	run := l.session.run
	l.session.timer = l.after(d, func() {
		if run == l.session.run && l.state == confirmed {
			l.sessionDue()
		}
	})
}

// sessionDue refreshes the session, or ends it.
func (l *Leg) sessionDue() {
	left := time.Until(l.session.expires)
	if left <= 0 || !l.session.ours {
		l.session.stop()
		l.user.Expired(l)
		return
	}
	// Should this one fail, for whatever reason, there is time for others.
	l.sessionAfter(min(left, max(left/2, 5*time.Second)))
	l.refresh()
}

// refresh sends our refresh, without a session description if the peer takes
// UPDATE.
func (l *Leg) refresh() {
	if l.byeDue || l.updating != nil || l.busy() {
		return
	}
	if !l.takesUpdate {
		l.user.Refresh(l)
		return
	}
	l.Update(nil, 0, func(r *sip.Response) {
		switch {
		case r.Code == 405 || r.Code == 501:
			if l.state == confirmed && !l.busy() {
				l.user.Refresh(l)
			}
		case r.Code == 408 || r.Code == 481:
			l.user.Expired(l)
		default:
			l.Again(r, l.refresh)
		}
	})
}
