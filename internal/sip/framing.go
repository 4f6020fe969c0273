package sip

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
)

// maxMessage is the largest message taken from a stream, as from a datagram.
const maxMessage = maxDatagram

// bodyStep is how much of a body is made room for at a time.
const bodyStep = 4 << 10

// What ends a stream, because nobody can say where the next message begins.
var (
	errNoStartLine = errors.New("first line is not of SIP")
	errTooLarge    = errors.New("message is too large")
	errBadLength   = errors.New("message has no usable Content-Length")
)

// framer cuts a byte stream into messages (RFC 3261 section 18.3).
type framer struct {
	r *bufio.Reader
	// began is called when the first byte of a message is there, ping for each
	// keep-alive of RFC 5626 section 3.5.1.
	began, ping func()
}

// next appends the next message to buf. On errTooLarge and errBadLength the
// head as far as it was read is returned too, so that it can be refused.
func (f *framer) next(buf []byte) ([]byte, error) {
	if err := f.skip(); err != nil {
		return buf, err
	}
	f.began()
	buf, err := f.head(buf)
	if err != nil {
		return buf, err
	}
	length, ok := contentLength(buf)
	switch {
	case !ok:
		return buf, errBadLength
	case length > maxMessage-len(buf):
		return buf, errTooLarge
	}
	start := len(buf)
	// As it comes: what is only promised takes no memory.
	for left := length; left > 0; {
		n, at := min(left, bodyStep), len(buf)
		buf = append(buf, make([]byte, n)...)
		if _, err := io.ReadFull(f.r, buf[at:]); err != nil {
			return buf[:start], err
		}
		left -= n
	}
	return buf, nil
}

// skip reads what may stand before a message: line ends (section 7.5), two of
// which ask for one back.
func (f *framer) skip() error {
	ends := 0
	for {
		b, err := f.r.ReadByte()
		if err != nil {
			return err
		}
		switch b {
		case '\r':
		case '\n':
			if ends++; ends == 2 {
				f.ping()
				ends = 0
			}
		default:
			return f.r.UnreadByte()
		}
	}
}

// head reads up to and with the blank line.
func (f *framer) head(buf []byte) ([]byte, error) {
	for lines := 0; ; {
		part, err := f.r.ReadSlice('\n')
		buf = append(buf, part...)
		switch {
		case len(buf) > maxMessage:
			return buf[:maxMessage], errTooLarge
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return buf, err
		}
		if lines == 0 && !startLine(bytes.TrimRight(buf, "\r\n")) {
			return buf, errNoStartLine
		}
		if lines++; lines > maxLines {
			return buf, errTooLarge
		}
		if bytes.HasSuffix(buf, []byte("\r\n\r\n")) {
			return buf, nil
		}
	}
}

// startLine reports whether a line ends in the version or begins with it.
func startLine(line []byte) bool {
	return bytes.HasPrefix(line, []byte("SIP/")) || bytes.Contains(line, []byte(" SIP/"))
}

// contentLength reads the one header that a stream needs. A second one that
// says something else makes both useless.
func contentLength(head []byte) (n int, ok bool) {
	for {
		i := bytes.Index(head, []byte("\r\n"))
		if i < 0 || i+2 >= len(head) {
			return n, ok
		}
		head = head[i+2:]
		if c := head[0] | 0x20; c != 'c' && c != 'l' {
			continue
		}
		colon := bytes.IndexByte(head[:min(len(head), 64)], ':')
		if colon < 0 {
			continue
		}
		name := string(bytes.TrimRight(head[:colon], " \t"))
		if !strings.EqualFold(name, "l") && !strings.EqualFold(name, "Content-Length") {
			continue
		}
		line, _, _ := nextHeader(string(head))
		v, err := strconv.ParseUint(trim(line[strings.IndexByte(line, ':')+1:]), 10, 31)
		if err != nil || ok && int(v) != n {
			return 0, false
		}
		n, ok = int(v), true
	}
}
