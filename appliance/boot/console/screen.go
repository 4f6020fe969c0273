package console

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	qrcode "github.com/skip2/go-qrcode"
)

// Screen is everything the console shows.
type Screen struct {
	Product  string // with version
	Slot     string
	Hostname string
	// Doing says what the machine does while there is no Status: starting,
	// waiting, going down.
	Doing string
	// Services are lines such as "pbxd: waiting, signal: killed", shown while
	// something is not in order.
	Services []string
	// Notices are about the machine: a seed that cannot be read, an update
	// that was undone.
	Notices []string
	Status  Status // of pbxd; its State is empty until it said something
}

func (s Screen) equal(o Screen, same func(Status, Status) bool) bool {
	return s.Product == o.Product && s.Slot == o.Slot && s.Hostname == o.Hostname && s.Doing == o.Doing &&
		slices.Equal(s.Services, o.Services) && slices.Equal(s.Notices, o.Notices) && same(s.Status, o.Status)
}

// forLog leaves out what changes all the time: the lines before say it.
func (s Screen) forLog() Screen {
	s.Services = nil
	return s
}

// fingerprintGroup is how many hexadecimal digits stand together.
const fingerprintGroup = 4

// Render returns the screen as lines of at most width columns. A QR code
// stands to the right of the text when both fit, else it is left out: the URL
// is there in letters.
func Render(s Screen, width int) []string {
	head := s.Product
	if s.Slot != "" {
		head += " (slot " + s.Slot + ")"
	}
	out := []string{spread(head, s.Hostname, width), strings.Repeat("-", width)}
	qr := s.qr()
	left := width
	if len(qr) > 0 {
		qrWidth := utf8.RuneCountInString(qr[0])
		if left = width - qrWidth - 2; left < 34 {
			qr, left = nil, width
		}
	}
	var text []string
	for _, l := range s.body(left) {
		text = append(text, wrap(l, left)...)
	}
	for i := range max(len(text), len(qr)) {
		line := ""
		if i < len(text) {
			line = text[i]
		}
		if i < len(qr) {
			line += strings.Repeat(" ", left+2-utf8.RuneCountInString(line)) + qr[i]
		}
		out = append(out, strings.TrimRight(line, " "))
	}
	return out
}

func (s Screen) body(width int) []string {
	var b []string
	add := func(format string, args ...any) { b = append(b, fmt.Sprintf(format, args...)) }
	st := s.Status
	switch {
	case s.Doing != "":
		add("%s", s.Doing)
	case st.State == Setup:
		b = append(b, s.setup(width)...)
	case st.State == Running:
		add("In service. Portal:")
		for _, u := range st.URLs {
			add("  %s", u)
		}
		add("")
		add("Extensions %d, registered %d, calls %d", st.Extensions, st.Registered, st.Calls)
		add("")
		add("SHA-256 fingerprint of the certificate:")
		b = append(b, fingerprint(st.Fingerprint, width)...)
		if st.SSH != "" {
			add("")
			add("Operator shell: %s", st.SSH)
			add("  %s", st.SSHKey)
		}
	}
	if len(s.Services) > 0 {
		add("")
		for _, l := range s.Services {
			add("  %s", l)
		}
	}
	for _, l := range slices.Concat(s.Notices, st.Warnings) {
		add("")
		add("! %s", l)
	}
	return b
}

func (s Screen) setup(width int) []string {
	st := s.Status
	b := []string{"This machine is not set up yet.", ""}
	if len(st.URLs) == 0 {
		return append(b, "It has no network address yet. Connect a", "network with DHCP, or give it an address", "with a seed disk (cloud-init).")
	}
	b = append(b, "1. Open in a browser:")
	for _, u := range st.URLs {
		b = append(b, "  "+u)
	}
	b = append(b, "", "2. Compare the certificate's SHA-256", "   fingerprint, then accept it:")
	b = append(b, fingerprint(st.Fingerprint, width)...)
	b = append(b, "")
	if st.Token == "" {
		return append(b, "3. Enter the one-time token that was", "   given with the seed (cloud-init).")
	}
	b = append(b, "3. Enter the one-time token:", "  "+st.Token)
	if s.qr() != nil {
		b = append(b, "", "Or scan the code.")
	}
	return b
}

// fingerprint sets hexadecimal digits in groups that people can compare.
func fingerprint(hex string, width int) []string {
	var groups []string
	for h := strings.ToUpper(hex); h != ""; {
		n := min(fingerprintGroup, len(h))
		groups, h = append(groups, h[:n]), h[n:]
	}
	perLine := max(1, (width-2+1)/(fingerprintGroup+1))
	perLine = 1 << (bitLen(perLine) - 1) // 4 or 8 a line are easier than 7
	var out []string
	for chunk := range slices.Chunk(groups, perLine) {
		out = append(out, "  "+strings.Join(chunk, " "))
	}
	return out
}

func bitLen(n int) (bits int) {
	for ; n > 0; n >>= 1 {
		bits++
	}
	return bits
}

// setupLink is the first URL with the token in its fragment, which browsers
// do not send to servers or proxies.
func (s Status) setupLink() string {
	if s.State != Setup || len(s.URLs) == 0 || s.Token == "" {
		return ""
	}
	if strings.Contains(s.URLs[0], "#") {
		return s.URLs[0]
	}
	return s.URLs[0] + "#token=" + s.Token
}

// qr draws the link's QR code with half blocks, two rows a line. What is dark
// in the code is the terminal's background, and light is drawn, with the
// quiet zone, because terminals are dark.
func (s Screen) qr() []string {
	link := s.Status.setupLink()
	if link == "" || s.Doing != "" {
		return nil
	}
	code, err := qrcode.New(link, qrcode.Low)
	if err != nil {
		return nil
	}
	code.DisableBorder = true
	const quiet = 2
	bits := code.Bitmap()
	size := len(bits) + 2*quiet
	light := func(x, y int) bool {
		x, y = x-quiet, y-quiet
		return y < -quiet || y >= len(bits)+quiet || x < 0 || y < 0 || x >= len(bits) || y >= len(bits) || !bits[y][x]
	}
	var out []string
	for y := 0; y < size; y += 2 {
		var b strings.Builder
		for x := range size {
			b.WriteRune(block(light(x, y), y+1 < size && light(x, y+1)))
		}
		out = append(out, b.String())
	}
	return out
}

func block(upper, lower bool) rune {
	switch {
	case upper && lower:
		return '█'
	case upper:
		return '▀'
	case lower:
		return '▄'
	}
	return ' '
}

func spread(left, right string, width int) string {
	gap := width - utf8.RuneCountInString(left) - utf8.RuneCountInString(right)
	if gap < 2 {
		return cutTo(left, width)
	}
	return strings.TrimRight(left+strings.Repeat(" ", gap)+right, " ")
}

func cutTo(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return string(r[:width])
	}
	return s
}

// wrap breaks a line at width columns, at a space when there is one in the
// second half, and indents what follows as the line was.
func wrap(s string, width int) []string {
	indent := s[:len(s)-len(strings.TrimLeft(s, " !"))]
	indent = strings.Repeat(" ", len(indent))
	var out []string
	r := []rune(s)
	for len(r) > width {
		at := width
		for i := width; i > width/2; i-- {
			if r[i] == ' ' {
				at = i
				break
			}
		}
		out = append(out, strings.TrimRight(string(r[:at]), " "))
		r = []rune(indent + strings.TrimLeft(string(r[at:]), " "))
	}
	return append(out, string(r))
}
