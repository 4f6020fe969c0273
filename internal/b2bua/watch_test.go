package b2bua

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/media/dtls"
	"ringfence/internal/media/quality"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

func (s *stack) alarms() (all []telephony.LiveCall) {
	synctest.Wait()
	for {
		select {
		case e := <-s.events.C:
			if a, ok := e.(events.CallAlarm); ok {
				all = append(all, a.Call)
			}
		default:
			return all
		}
	}
}

// TestAlarmOnceForACallWithBadMedia: a callee that is not heard while the caller
// is, then bad quality on top, is one event, and stands in the live call and in
// the record.
func TestAlarmOnceForACallWithBadMedia(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da, _ := talking(a, b)
		well := quality.Side{Expected: true, Ever: true, MOS: 4.3}
		s.media.look.Store(&[2]quality.Side{well, well})
		time.Sleep(time.Hour)
		if n := s.alarms(); len(n) != 0 {
			t.Fatalf("alarms %+v of a call that is well", n)
		}
		s.media.look.Store(&[2]quality.Side{well, {Expected: true, Silent: time.Minute}})
		time.Sleep(2 * quality.Interval)
		s.media.look.Store(&[2]quality.Side{well, {Expected: true, Ever: true, MOS: 1.5}})
		time.Sleep(time.Hour)
		all := s.alarms()
		if len(all) != 1 || all[0].Alarm != telephony.AlarmOneWay {
			t.Fatalf("alarms %+v, want one of one-way audio", all)
		}
		if live := s.svc.Calls(1); live[0].Alarm != telephony.AlarmOneWay || live[0].CalleeLeg.Packets != 7 || live[0].CallerLeg.Codec == "" {
			t.Errorf("live call %+v", live[0])
		}
		da.request(sip.BYE, "")
		a.want("200")
		b.reply(b.want("BYE"), 200, "", "")
		if r := s.ended(telephony.EndCallerHungUp, 200); r.Alarm != telephony.AlarmOneWay || r.CalleeLeg.Packets != 7 {
			t.Errorf("record %+v", r)
		}
	})
}

// TestBadQualityIsAlarmed: after some intervals in a row, not after one.
func TestBadQualityIsAlarmed(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		talking(a, b)
		well, bad := quality.Side{Expected: true, Ever: true, MOS: 4.3}, quality.Side{Expected: true, Ever: true, MOS: 2}
		s.media.look.Store(&[2]quality.Side{bad, well})
		time.Sleep(quality.Interval)
		s.media.look.Store(&[2]quality.Side{well, well})
		time.Sleep(time.Minute)
		if n := s.alarms(); len(n) != 0 {
			t.Fatalf("alarms %+v after one bad interval", n)
		}
		s.media.look.Store(&[2]quality.Side{bad, well})
		time.Sleep(time.Minute)
		if n := s.alarms(); len(n) != 1 || n[0].Alarm != telephony.AlarmBad {
			t.Errorf("alarms %+v, want one of bad quality", n)
		}
	})
}

// TestCallWithoutKeysIsEnded: a phone whose DTLS handshake failed hears why, and
// the other one too, instead of silence.
func TestCallWithoutKeysIsEnded(t *testing.T) {
	for _, c := range []struct {
		name    string
		unkeyed [2]error
		reason  string
	}{
		{"callee's certificate", [2]error{nil, fmt.Errorf("shaking: %w", dtls.ErrFingerprint)}, `SIP;cause=488;text="the certificate is not the one described"`},
		{"caller says nothing", [2]error{dtls.ErrTimeout, nil}, `SIP;cause=408;text="no DTLS handshake in time"`},
		{"alert", [2]error{dtls.ErrAlert, nil}, `SIP;cause=488;text="the DTLS handshake failed"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s, a, b := pair(t, nil)
				talking(a, b)
				time.Sleep(time.Minute)
				s.media.unkeyed.Store(&c.unkeyed)
				time.Sleep(quality.Interval + time.Second)
				for _, p := range []*phone{a, b} {
					bye := p.want("BYE")
					if !strings.Contains(bye, "\r\nReason: "+c.reason+"\r\n") {
						t.Errorf("no Reason %q in\n%s", c.reason, bye)
					}
					p.reply(bye, 200, "", "")
				}
				s.ended(telephony.EndMediaSecurity, 200)
			})
		})
	}
}
