package b2bua

import (
	"fmt"
	"strings"
	"testing"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// TestBackToBack: 1,000 calls whose messages follow each other without a
// pause: 180, 183, 200 from the callee, then ACK, re-INVITE, BYE from the
// caller. None is lost and none overtakes another.
func TestBackToBack(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		for i := range 1000 {
			da := a.dial("102", "v=0 offer-a")
			invite := b.want("INVITE")
			local := fmt.Sprint("b", i)
			b.reply(invite, 180, local, "")
			b.reply(invite, 183, local, "v=0 early")
			b.reply(invite, 200, local, "v=0 answer")
			a.want("180")
			if p := a.want("183"); body(p) != "v=0 via-pbx(early)" {
				t.Fatal(p)
			}
			da.learn(a.want("200"))
			b.want("ACK")
			da.request(sip.ACK, "")
			da.request(sip.INVITE, "v=0 new")
			da.request(sip.BYE, "")
			a.want("100")
			got := ""
			for range 2 {
				got += line(a.next()) + "; "
			}
			if !strings.Contains(got, "200 OK") || !strings.Contains(got, "487 Request Terminated") {
				t.Fatalf("call %d: %s", i, got)
			}
			re := b.want("INVITE")
			b.reply(re, 200, "", "v=0 answer2")
			seen := map[string]int{}
			for range 2 {
				m := b.next()
				seen[strings.Fields(m)[0]]++
				if strings.HasPrefix(m, "BYE") {
					b.reply(m, 200, "", "")
				}
			}
			if seen["BYE"] != 1 || seen["ACK"] != 1 {
				t.Fatalf("call %d: the callee got %v", i, seen)
			}
			s.ended(telephony.EndCallerHungUp, 200)
		}
	})
}
