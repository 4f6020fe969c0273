package sip

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
)

// TestValidation sends one request each and looks at the one answer.
func TestValidation(t *testing.T) {
	t.Parallel()
	ok := msg("INFO", "z9hG4bKa", "1")
	invite := msg("INVITE", "z9hG4bKa", "1", "Contact: <sip:101@192.0.2.9>", "v=0\r\n")
	swap := strings.NewReplacer
	for _, c := range []struct{ name, raw, want string }{
		{"plain", ok, "299 OK"},
		{"compact", swap("Via:", "v:", "From:", "f:", "To:", "t:", "Call-ID:", "i:", "Content-Length:", "l:").Replace(ok), "299 OK"},
		{"leading blank lines", "\r\n\r\n" + ok, "299 OK"},
		{"version", swap("SIP/2.0\r\nVia", "SIP/7.0\r\nVia").Replace(ok), "505 Version Not Supported"},
		{"no From", swap("From: <sip:101@a.test>;tag=peer\r\n", "").Replace(ok), "400 Missing From"},
		{"no To", swap("To: <sip:102@a.test>\r\n", "").Replace(ok), "400 Missing To"},
		{"no Call-ID", swap("Call-ID: call-1\r\n", "").Replace(ok), "400 Missing Call-ID"},
		{"no CSeq", swap("CSeq: 1 INFO\r\n", "").Replace(ok), "400 Missing CSeq"},
		{"two To", swap("Call-ID", "To: <sip:x@y>\r\nCall-ID").Replace(ok), "400 Repeated To"},
		{"two Call-ID", swap("CSeq", "Call-ID: x\r\nCSeq").Replace(ok), "400 Repeated Call-ID"},
		{"two lengths", swap("CSeq", "l: 0\r\nCSeq").Replace(ok), "400 Repeated Content-Length"},
		{"CSeq of another method", swap("1 INFO", "1 BYE").Replace(ok), "400 CSeq Method Mismatch"},
		{"CSeq too big", swap("1 INFO", "2147483648 INFO").Replace(ok), "400 Malformed CSeq"},
		{"greatest CSeq", swap("1 INFO", "2147483647 INFO").Replace(ok), "299 OK"},
		{"short body", swap("Content-Length: 0", "Content-Length: 1").Replace(ok), "400 Incomplete Body"},
		{"shorter body", swap("Content-Length: 5", "Content-Length: 6").Replace(invite), "400 Incomplete Body"},
		{"longer datagram", swap("Content-Length: 5", "Content-Length: 3").Replace(invite), "299 OK"},
		{"negative length", swap("Content-Length: 0", "Content-Length: -1").Replace(ok), "400 Malformed Content-Length"},
		{"hops over 255", swap("Forwards: 70", "Forwards: 300").Replace(ok), "400 Malformed Max-Forwards"},
		{"no hops left", swap("Forwards: 70", "Forwards: 0").Replace(ok), "483 Too Many Hops"},
		{"no Max-Forwards", swap("Max-Forwards: 70\r\n", "").Replace(ok), "299 OK"},
		{"lone line feed", swap("Max-F", "Subject: a\nEvil: b\r\nMax-F").Replace(ok), "400 Malformed Header"},
		{"no colon", swap("Max-F", "what is this\r\nMax-F").Replace(ok), "400 Malformed Header"},
		{"scheme", swap("sip:102@a.test SIP", "soap.beep:x SIP").Replace(ok), "416 Unsupported URI Scheme"},
		{"tel", swap("sip:102@a.test SIP", "tel:+4930 SIP").Replace(ok), "416 Unsupported URI Scheme"},
		{"headers in the URI", swap("sip:102@a.test SIP", "sip:102@a.test?Route=%3Csip:x%3E SIP").Replace(ok), "400 Headers in Request-URI"},
		{"angle brackets", swap("sip:102@a.test SIP", "<sip:102@a.test> SIP").Replace(ok), "400 Malformed Request-URI"},
		{"two blanks", swap("INFO sip:", "INFO  sip:").Replace(ok), "400 Malformed Request-Line"},
		{"unfinished", strings.TrimSuffix(ok, "\r\n"), "400 Unfinished Header"},
		{"trailing blank", swap("SIP/2.0\r\nVia", "SIP/2.0 \r\nVia").Replace(ok), "400 Malformed Request-Line"},
		{"Require", swap("Max-F", "Require: 100rel, foo\r\nProxy-Require: bar\r\nMax-F").Replace(ok), "420 Bad Extension"},
		{"Require timer", swap("Max-F", "Require: timer\r\nMax-F").Replace(ok), "299 OK"},
		{"INVITE", invite, "299 OK"},
		{"bad Contact", swap("<sip:101@192.0.2.9>", "sip:101@192.0.2.9?x=y").Replace(invite), "400 Malformed Contact"},
		{"two Contacts", swap("<sip:101@192.0.2.9>", "<sip:101@192.0.2.9>, <sip:2@h>").Replace(invite), "400 Malformed Contact"},
		{"content type", swap("application/sdp", "text/plain").Replace(invite), "415 Unsupported Media Type"},
		{"optional content", swap("application/sdp", "text/plain\r\nContent-Disposition: render;handling=optional").Replace(invite), "299 OK"},
		{"content encoding", swap("application/sdp", "application/sdp\r\ne: gzip").Replace(invite), "415 Unsupported Media Type"},
		{"no answer wanted", swap("Contact", "Accept: text/plain\r\nContact").Replace(invite), "406 Not Acceptable"},
		{"any answer wanted", swap("Contact", "Accept: text/plain, application/sdp;level=1\r\nContact").Replace(invite), "299 OK"},
		{"unknown method", swap("INFO", "NEWMETHOD").Replace(ok), "299 OK"},
		{"OPTIONS", swap("INFO", "OPTIONS").Replace(ok), "200 OK"},
		{"CANCEL of nothing", swap("INFO", "CANCEL").Replace(ok), "481 Call/Transaction Does Not Exist"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, Config{}, false)
				b.Handle("", HandlerFunc(func(tx *ServerTx) { tx.Reply(Reply{Code: 299, Reason: "OK"}) }))
				b.get(c.raw)
				synctest.Wait()
				got := b.take()
				if len(got) != 1 || status(got[0]) != c.want {
					t.Errorf("answers %q, want %s", starts(got), c.want)
				}
				b.Close()
			})
		})
	}
}

func TestUnsupportedIsListed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{}, false)
		b.get(msg("INFO", "z9hG4bKa", "1", "Require: 100rel, timer, bar", "Require: foo"))
		synctest.Wait()
		if got := b.take(); len(got) != 1 || header(got[0], "Unsupported") != "bar, foo" {
			t.Errorf("%q", got)
		}
		b.Close()
	})
}

// TestNothingToAnswer: these get no answer at all.
func TestNothingToAnswer(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"keep-alive":    "\r\n",
		"zeros":         "\x00\x00\x00\x00",
		"junk":          "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"binary":        strings.Repeat("\x80\xff", 200),
		"ACK":           msg("ACK", "z9hG4bKa", "1"),
		"malformed ACK": msg("ACK", "z9hG4bKa", "x"),
		"no Via":        strings.Replace(msg("INFO", "z9hG4bKa", "1"), "Via: SIP/2.0/UDP 192.0.2.9:5062;rport;branch=z9hG4bKa\r\n", "", 1),
		"response":      "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\nCSeq: 1 INVITE\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: x\r\n\r\n",
		"big code":      "SIP/2.0 4294967301 better not break the receiver\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\nCSeq: 1 INVITE\r\n\r\n",
		"many lines":    "INFO sip:a@b SIP/2.0\r\n" + strings.Repeat("a:b\r\n", 3000) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, Config{}, false)
				b.get(raw)
				synctest.Wait()
				if got := b.take(); len(got) != 0 {
					t.Errorf("answered %q", got)
				}
				b.Close()
			})
		})
	}
}

func TestResponseGivesBackWhatCame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{}, false)
		b.Handle("", HandlerFunc(func(tx *ServerTx) { tx.Reply(Reply{Code: 200}) }))
		raw := "INFO sip:102@a.test SIP/2.0\r\n" +
			"v:  SIP  / 2.0  / UDP     192.0.2.9 ;rport;  branch  =   z9hG4bK9ikj8  , SIP/2.0/TCP  a.b;branch= z9hG4bK30239\r\n" +
			"Via: SIP/2.0/TLS c.d;branch=z9hG4bKzz\r\n" +
			"f: \"J \\\"R\"   <sip:101@a.test>; odd = \"a;b c\";tag = peer\r\nTO :\r\n sip:102@a.test\r\nCall-ID: x\r\nCSeq: 0009\r\n  INFO\r\n\r\n"
		b.get(raw)
		synctest.Wait()
		got := b.take()
		if len(got) != 1 {
			t.Fatalf("%q", got)
		}
		for _, want := range []string{
			"Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK9ikj8;received=192.0.2.9;rport=5062, SIP/2.0/TCP  a.b;branch= z9hG4bK30239\r\nVia: SIP/2.0/TLS c.d;branch=z9hG4bKzz\r\n",
			"From: \"J \\\"R\"   <sip:101@a.test>; odd = \"a;b c\";tag = peer\r\n",
			"To: sip:102@a.test;tag=",
			"CSeq: 0009 INFO\r\n",
		} {
			if !strings.Contains(got[0], want) {
				t.Errorf("answer lacks %q:\n%s", want, got[0])
			}
		}
		b.Close()
	})
}

// TestMalformedMessagesDoNotFillTheLog: a scanner costs a line in ten seconds at
// most, and none of what it sent is in it.
func TestMalformedMessagesDoNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{}, false)
		var out bytes.Buffer
		b.log = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))
		for i := range 1000 {
			b.get(fmt.Sprintf("SECRET %d\r\n\r\n", i))
			b.get(strings.Replace(msg(OPTIONS, fmt.Sprint("z9hG4bK", i), "1"), "To: ", "SECRET: ", 1))
			b.get(fmt.Sprintf("SIP/2.0 200 SECRET\r\nVia: %d\r\n\r\n", i))
		}
		synctest.Wait()
		if n := strings.Count(out.String(), "\n"); n > 2 || strings.Contains(out.String(), "SECRET") {
			t.Errorf("%d lines:\n%.500s", n, out.String())
		}
	})
}
