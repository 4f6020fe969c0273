package b2bua

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"ringfence/internal/dialog"
	"ringfence/internal/sip"
)

// maxPassing bounds the INFO and MESSAGE requests of one side that wait for their
// turn.
const maxPassing = 32

// keypad is a MediaLeg that knows the forms of digits. Dialled passes a digit on
// that its phone sent in an INFO; it reports false where the other phone is to get
// the INFO. OnSignal has the function called with digits that its own phone is to
// get in an INFO.
type keypad interface {
	Dialled(digit byte, length time.Duration) bool
	OnSignal(f func(digit byte, length time.Duration))
}

// info handles an INFO: DTMF of older phones, picture requests. Those are legacy
// uses (RFC 6086 section 2), without a package. Of Info Packages we have told
// nobody that we receive any, so that each is a bad one (section 4.2.2).
func (c *call) info(l *dialog.Leg, tx *sip.ServerTx) {
	r := tx.Request()
	if r.Has("Info-Package") {
		tx.Reply(sip.Reply{Code: 469, Reason: "Bad Info Package", Headers: []sip.Header{{Name: "Recv-Info"}}})
		return
	}
	if digit, length, ok := parseDigit(r.ContentType(), r.Body); ok && !c.finished && c.callee != nil {
		own, _ := c.sides(l)
		if k, can := own.media.(keypad); can && k.Dialled(digit, length) {
			tx.Reply(sip.Reply{Code: 200})
			return
		}
	}
	c.pass(l, tx)
}

// takesDigits lets the phone of a leg have those digits in INFO that are to reach
// it so. They come from the media, and go to whatever call the leg is in then.
func (c *call) takesDigits(m MediaLeg, l *dialog.Leg) {
	k, can := m.(keypad)
	if !can {
		return
	}
	k.OnSignal(func(digit byte, length time.Duration) {
		c.box.Post(func() {
			if now, ok := l.User().(*call); ok && !now.finished && now.callee != nil {
				now.sendDigit(l, digit, length)
			}
		})
	})
}

// sendDigit sends a digit to the phone of a leg in an INFO.
func (c *call) sendDigit(l *dialog.Leg, digit byte, length time.Duration) {
	to, from := c.sides(l)
	if len(from.passing) >= maxPassing {
		return // nobody dials so fast
	}
	from.passing = append(from.passing, passing{nil, sip.Outgoing{
		Method: sip.INFO, ContentType: "application/dtmf-relay",
		Body: fmt.Appendf(nil, "Signal=%c\r\nDuration=%d\r\n", digit, length.Milliseconds()),
	}})
	if len(from.passing) == 1 {
		c.passNext(from, to.leg)
	}
}

// passing is a request that one side gets from the other; tx is nil for one of our
// own.
type passing struct {
	tx *sip.ServerTx
	o  sip.Outgoing
}

func (p passing) reply(code int) {
	if p.tx != nil {
		p.tx.Reply(sip.Reply{Code: code})
	}
}

// pass hands a request on to the other side. The next one waits for its answer:
// digits that overtake each other on the way are another number, and the phone
// would refuse the later one as out of order (RFC 3261 section 12.2.2).
func (c *call) pass(l *dialog.Leg, tx *sip.ServerTx) {
	if c.finished || c.callee == nil {
		tx.Reply(sip.Reply{Code: 480})
		return
	}
	own, other := c.sides(l)
	if len(own.passing) >= maxPassing {
		tx.Reply(*sip.Busy())
		return
	}
	r := tx.Request()
	own.passing = append(own.passing, passing{tx, sip.Outgoing{
		Method: r.Method, ContentType: r.Header("Content-Type"), Body: r.Body, MaxForwards: r.NextHops(),
	}})
	if len(own.passing) == 1 {
		c.passNext(own, other.leg)
	}
}

// passNext sends what is first in the queue of own's requests to the other side.
func (c *call) passNext(own *party, to *dialog.Leg) {
	p := own.passing[0]
	to.Do(p.o, func(x *sip.Response) {
		code := x.Code
		if code == 401 || code == 407 || x.Local {
			code = 500
		}
		p.reply(code)
		if len(own.passing) == 0 || own.passing[0].tx != p.tx {
			return // the two are not together any more
		}
		if own.passing = own.passing[1:]; len(own.passing) > 0 {
			c.passNext(own, to)
		}
	})
}

// dropPassing refuses the requests of a side whose call is over.
func (own *party) dropPassing() {
	for _, p := range own.passing {
		p.reply(481)
	}
	own.passing = nil
}

// parseDigit reads a digit that a phone sends in an INFO: application/dtmf-relay
// with its length in milliseconds, or application/dtmf with nothing but the digit.
func parseDigit(contentType string, body []byte) (digit byte, length time.Duration, ok bool) {
	signal, length := "", 160*time.Millisecond
	switch contentType {
	case "application/dtmf":
		signal = strings.TrimSpace(string(body))
	case "application/dtmf-relay":
		for line := range strings.Lines(string(body)) {
			name, value, _ := strings.Cut(line, "=")
			value = strings.TrimSpace(value)
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "signal":
				signal = value
			case "duration":
				if ms, err := strconv.ParseUint(value, 10, 16); err == nil && ms > 0 {
					length = time.Duration(min(max(ms, 40), 8000)) * time.Millisecond
				}
			}
		}
	}
	if len(signal) != 1 || !strings.Contains("0123456789*#ABCD", strings.ToUpper(signal)) {
		return 0, 0, false
	}
	return strings.ToUpper(signal)[0], length, true
}
