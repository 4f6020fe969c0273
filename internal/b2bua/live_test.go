package b2bua

import (
	"testing"
	"testing/synctest"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// TestLegsNameTheDialogs: a live call tells the dialogs with its phones, as
// Replaces needs them, and only those that are there.
func TestLegsNameTheDialogs(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a")
		invite := b.want("INVITE")
		leg := func(n int) telephony.LiveLeg {
			t.Helper()
			synctest.Wait()
			live := s.svc.Calls(1)
			if len(live) != 1 || len(live[0].Legs) != 2 {
				t.Fatalf("live %+v", live)
			}
			if one, ok := s.svc.Call(live[0].ID); !ok || one.ID != live[0].ID {
				t.Errorf("Call gives %+v, %v", one, ok)
			}
			return live[0].Legs[n]
		}
		if l := leg(1); l.State != telephony.CallTrying || l.Dialog.CallID != header(invite, "Call-ID") || l.Dialog.LocalTag != tag(header(invite, "From")) {
			t.Errorf("before it rings: %+v", l)
		}
		b.reply(invite, 180, "b1", "")
		ringing := a.want("180")
		if l := leg(1); l.State != telephony.CallRinging || l.Number != "102" || l.Placed || l.Dialog.RemoteTag != "b1" {
			t.Errorf("ringing: %+v", l)
		}
		if l := leg(0); l.Number != "101" || !l.Placed || l.Dialog.LocalTag != tag(header(ringing, "To")) || l.Dialog.RemoteTag == "" {
			t.Errorf("caller: %+v", l)
		}
		b.reply(invite, 200, "b1", "v=0 answer-b")
		da.learn(a.want("200"))
		da.request(sip.ACK, "")
		if l := leg(1); l.State != telephony.CallConnected {
			t.Errorf("answered: %+v", l)
		}
	})
}
