package sip

import (
	"context"
	"fmt"
	"time"
)

// Register registers each user, answering the challenge; contact is where
// their calls are to go.
func (l *Load) Register(ctx context.Context, contact string) (Result, error) {
	l.step = func(l *Load, x *exchange, m []byte) {
		code := status(m)
		switch {
		case code < 200:
		case code == 401 && x.phase == 0:
			x.phase = 1
			l.send(x, l.register(x, contact, header(m, "WWW-Authenticate")))
		case code == 401 && header(m, "CSeq") == "1 REGISTER": // repeated
		case code == 200:
			l.result.Waits = append(l.result.Waits, time.Since(x.began))
			l.finish(x, true)
		default:
			l.refused(x, code)
		}
	}
	return l.run(ctx, func(x *exchange) { l.send(x, l.register(x, contact, "")) })
}

func (l *Load) register(x *exchange, contact, challenge string) []byte {
	u := x.user
	auth := ""
	if challenge != "" {
		auth = "Authorization: " + u.authorization(challenge, "REGISTER", "sip:"+u.Domain) + "\r\n"
	}
	return fmt.Appendf(nil, "REGISTER sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;rport;branch=z9hG4bK%[3]d-%[4]d-%[5]s\r\n"+
		"Max-Forwards: 70\r\nFrom: <sip:%[6]s@%[1]s>;tag=%[3]d\r\nTo: <sip:%[6]s@%[1]s>\r\nCall-ID: %[3]d-%[5]s\r\nCSeq: %[4]d REGISTER\r\n"+
		"Contact: <sip:%[6]s@%[7]s>\r\nExpires: 600\r\nUser-Agent: load\r\n%[8]sContent-Length: 0\r\n\r\n",
		u.Domain, l.from, x.n, x.phase+1, l.id, u.Name, contact, auth)
}
