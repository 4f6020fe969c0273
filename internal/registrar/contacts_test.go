package registrar

import (
	"fmt"
	"strings"
	"testing"
)

// TestHostileContacts: broken Contacts in many ways are refused or harmless;
// none becomes a server error, and what is kept of them can be printed.
func TestHostileContacts(t *testing.T) {
	inTime(t, func(t *testing.T) {
		r := newRig(t, Config{})
		uris := []string{"", "sip", "sip:", "sip:@h", "sip:a@", "sip:a@h:99999", "sip:a@h:x", "sip:a@[::1", "sip:a@h;", "sip:a b@h", "tel:1", "sip:a@h@i", "sip:%zz@h",
			"sip:" + strings.Repeat("a", 2000) + "@h", "sip:a@" + strings.Repeat("h", 300), "sip:a@h?Route=x", "sips:a@h", "sip:a@h;;lr", "*", "javascript:alert(1)", "sip:a@h;transport=\x01"}
		params := []string{"", ";expires", ";expires=", ";expires=-1", ";expires=1e9", ";expires=4294967296", ";q=", ";q=1.1", ";q=-0", ";q=NaN", ";q=0.0000001", ";+sip.instance=", `;+sip.instance="<urn`,
			";+sip.instance=" + strings.Repeat("x", 500), ";reg-id=0", `;reg-id=1;+sip.instance="<u>"`, `;reg-id=99999999999;+sip.instance="<u>"`, ";" + strings.Repeat("p=v;", 300), `;x="`, ";=", ";q=0.5;q=2"}
		forms := []string{"<%s>%s", `"a \" b" <%s>%s`, "%s%s"}
		n, kept := 0, 0
		for _, form := range forms {
			for _, u := range uris {
				for _, p := range params {
					n++
					code, _ := r.register(ask{cseq: 1, callID: fmt.Sprint(n), lines: []string{"Contact: " + fmt.Sprintf(form, u, p), "Supported: outbound"}})
					if code[0] != '2' && code[0] != '4' {
						t.Errorf(form+": %s", u, p, code)
					}
					if code[0] == '2' {
						kept++
					}
				}
			}
		}
		t.Logf("%d of %d were taken", kept, n)
		if kept == 0 || kept == n || r.loc.Len() > 10 {
			t.Errorf("%d of %d were taken, %d are there", kept, n, r.loc.Len())
		}
		_, answer := r.register(ask{cseq: 1, callID: "end"})
		for _, line := range strings.Split(answer, "\r\n") {
			if strings.ContainsAny(line, "\x00\x01\r\n") {
				t.Errorf("%q", line)
			}
		}
	})
}
