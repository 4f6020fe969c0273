package media

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"
)

// The control protocol of rtpengine ("ng"): a cookie, a space and a dictionary
// in bencode, over UDP. Our own engine is driven by it as well, so that both
// are asked the same.

// dict is a dictionary of strings, lists of strings and dictionaries.
type dict map[string]any

func (d dict) text(key string) string {
	s, _ := d[key].(string)
	return s
}

func (d dict) encode() []byte {
	b := []byte{'d'}
	for _, k := range slices.Sorted(maps.Keys(d)) {
		b = encodeString(b, k)
		switch v := d[k].(type) {
		case string:
			b = encodeString(b, v)
		case int:
			b = fmt.Appendf(b, "i%de", v)
		case []string:
			b = append(b, 'l')
			for _, s := range v {
				b = encodeString(b, s)
			}
			b = append(b, 'e')
		}
	}
	return append(b, 'e')
}

func encodeString(b []byte, s string) []byte { return fmt.Appendf(b, "%d:%s", len(s), s) }

var errBencode = errors.New("malformed bencode")

// decode reads one value: string, int, []any or dict.
func decode(b []byte) (v any, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, errBencode
	}
	switch b[0] {
	case 'i':
		end := bytes.IndexByte(b, 'e')
		if end < 0 {
			return nil, nil, errBencode
		}
		n, err := strconv.Atoi(string(b[1:end]))
		return n, b[end+1:], err
	case 'l', 'd':
		return decodeList(b[1:], b[0] == 'd')
	}
	length, rest, ok := bytes.Cut(b, []byte{':'})
	n, err := strconv.Atoi(string(length))
	if !ok || err != nil || n < 0 || n > len(rest) {
		return nil, nil, errBencode
	}
	return string(rest[:n]), rest[n:], nil
}

func decodeList(b []byte, pairs bool) (any, []byte, error) {
	var list []any
	for len(b) > 0 && b[0] != 'e' {
		v, rest, err := decode(b)
		if err != nil {
			return nil, nil, err
		}
		list, b = append(list, v), rest
	}
	if len(b) == 0 {
		return nil, nil, errBencode
	}
	if !pairs {
		return list, b[1:], nil
	}
	d := dict{}
	for i := 0; i+1 < len(list); i += 2 {
		k, ok := list[i].(string)
		if !ok {
			return nil, nil, errBencode
		}
		d[k] = list[i+1]
	}
	return d, b[1:], nil
}

// parseNG takes a message apart.
func parseNG(m []byte) (cookie string, d dict, err error) {
	c, rest, ok := bytes.Cut(m, []byte{' '})
	if !ok {
		return "", nil, errBencode
	}
	v, _, err := decode(rest)
	d, ok = v.(dict)
	if err != nil || !ok {
		return "", nil, errBencode
	}
	return string(c), d, nil
}

// control talks to a relay.
type control struct {
	conn net.Conn
	last int
}

// do sends a command, again when no answer comes, and returns the answer.
func (c *control) do(command string, with dict) (dict, error) {
	c.last++
	cookie := strconv.Itoa(c.last)
	m := maps.Clone(with)
	if m == nil {
		m = dict{}
	}
	m["command"] = command
	buf := make([]byte, 1<<16)
	for range 10 {
		if _, err := c.conn.Write(append([]byte(cookie+" "), m.encode()...)); err != nil {
			return nil, fmt.Errorf("%s: %w", command, err)
		}
		for {
			_ = c.conn.SetReadDeadline(time.Now().Add(time.Second))
			n, err := c.conn.Read(buf)
			if err != nil {
				time.Sleep(20 * time.Millisecond) // nobody listens yet
				break
			}
			got, d, err := parseNG(buf[:n])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", command, err)
			}
			if got != cookie {
				continue
			}
			if r := d.text("result"); r != "ok" && r != "pong" {
				return nil, fmt.Errorf("%s: %s: %s", command, r, d.text("error-reason"))
			}
			return d, nil
		}
	}
	return nil, fmt.Errorf("%s: no answer", command)
}
