package clients

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// SIPp runs one scenario once, as one user.
type SIPp struct {
	Dir      string // empty folder for its files
	Command  func(ctx context.Context, name string, args ...string) *exec.Cmd
	Server   netip.AddrPort
	TCP      bool
	Local    netip.AddrPort
	User     string
	Password string
	Domain   string
	Callee   string // number that [service] stands for
	Play     string // file of G.711 mu-law that Play sends
	Steps    []Step
}

// Step is one element of a scenario.
type Step string

// Request sends a request within the scenario's only call. The target is the
// callee's address of record, or the peer's Contact for "[next_url]". Lines are
// further header lines; a body follows with the usual description when sdp.
func Request(method, target string, sdp bool, lines ...string) Step {
	to := "To: <sip:[service]@[domain]>"
	switch {
	case target == "[next_url]":
		to += "[peer_tag_param]"
	case method == "REGISTER":
		to = "To: <sip:[user]@[domain]>"
	}
	return send(method+" "+target+" SIP/2.0", append([]string{
		"Via: SIP/2.0/[transport] [local_ip]:[local_port];rport;branch=[branch]",
		"Max-Forwards: 70", "From: <sip:[user]@[domain]>;tag=[pid]s[call_number]", to, "Call-ID: [call_id]",
		"Contact: <sip:[user]@[local_ip]:[local_port];transport=[transport]>",
	}, lines...), sdp, method != "ACK")
}

// Callee is the Request-URI of a call.
const Callee = "sip:[service]@[domain]"

// Within sends a request of the transaction of the INVITE numbered seq: CANCEL,
// or the ACK of a refusal (RFC 3261 sections 9.1 and 17.1.1.3).
func Within(method string, seq int) Step {
	to := "To: <" + Callee + ">"
	if method == "ACK" {
		to = "[last_To:]"
	}
	return send(method+" "+Callee+" SIP/2.0", []string{"[last_Via:]", "Max-Forwards: 70", "[last_From:]", to, "[last_Call-ID:]", fmt.Sprintf("CSeq: %d %s", seq, method)}, false, method != "ACK")
}

// Carrying is a request within the call, of its own number, with a body.
func Carrying(method string, seq int, contentType, text string) Step {
	step := Request(method, "[next_url]", false, fmt.Sprintf("CSeq: %d %s", seq, method), "[routes]", "Content-Type: "+contentType)
	return Step(strings.Replace(string(step), "Content-Length: 0\n\n", "Content-Length: [len]\n\n"+text, 1))
}

// WithEvents describes telephone-events beside the speech.
func WithEvents(steps []Step) (all []Step) {
	for _, s := range steps {
		all = append(all, Step(strings.Replace(string(s), "RTP/AVP 0\n", "RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n", 1)))
	}
	return all
}

// Response answers the request received last.
func Response(status string, sdp bool, lines ...string) Step {
	return send("SIP/2.0 "+status, append([]string{
		"[last_Via:]", "[last_From:]", "[last_To:];tag=[pid]u[call_number]", "[last_Call-ID:]", "[last_CSeq:]",
		"Contact: <sip:[user]@[local_ip]:[local_port];transport=[transport]>",
	}, lines...), sdp, false)
}

// Reply answers a request inside the dialog, whose To has its tag.
func Reply(status string, lines ...string) Step {
	return send("SIP/2.0 "+status, append([]string{
		"[last_Via:]", "[last_From:]", "[last_To:]", "[last_Call-ID:]", "[last_CSeq:]",
		"Contact: <sip:[user]@[local_ip]:[local_port];transport=[transport]>",
	}, lines...), false, false)
}

// AnswerFirst answers the INVITE a scenario began with, after other requests
// came: its own Via and CSeq are told by that INVITE alone.
func AnswerFirst(status string) Step {
	return send("SIP/2.0 "+status, []string{
		"Via: [$via]", "[last_From:]", "[last_To:]", "[last_Call-ID:]", "CSeq: [$cseq]",
		"Contact: <sip:[user]@[local_ip]:[local_port];transport=[transport]>",
	}, false, false)
}

// ExpectFirst waits for the INVITE that AnswerFirst will answer.
func ExpectFirst() Step {
	return `<recv request="INVITE" rrs="true"><action><ereg regexp="[^ ].*" search_in="hdr" header="Via:" check_it="true" assign_to="via"/><ereg regexp="[0-9]+ INVITE" search_in="hdr" header="CSeq:" check_it="true" assign_to="cseq"/></action></recv>`
}

// Redirect sends a call to another URI.
func Redirect(to string) Step {
	return send("SIP/2.0 302 Moved Temporarily", []string{"[last_Via:]", "[last_From:]", "[last_To:];tag=[pid]u[call_number]", "[last_Call-ID:]", "[last_CSeq:]", "Contact: <" + to + ">"}, false, false)
}

func send(start string, lines []string, sdp, again bool) Step {
	text := start + "\n" + strings.Join(lines, "\n") + "\n"
	if sdp {
		text += "Content-Type: application/sdp\nContent-Length: [len]\n\nv=0\no=- 1 1 IN IP4 [local_ip]\ns=-\nc=IN IP4 [media_ip]\nt=0 0\nm=audio [media_port] RTP/AVP 0\na=rtpmap:0 PCMU/8000\n"
	} else {
		text += "Content-Length: 0\n\n"
	}
	attribute := ""
	if again {
		attribute = ` retrans="500"`
	}
	return Step("<send" + attribute + "><![CDATA[\n" + text + "]]></send>")
}

// Expect waits for a response. More are attributes such as `auth="true"`,
// `optional="true"`, `rrs="true"`.
func Expect(code int, more ...string) Step {
	return Step(fmt.Sprintf("<recv response=\"%d\" %s></recv>", code, strings.Join(more, " ")))
}

// ExpectWith waits for a response in which a pattern must be found; its match is
// kept as [$name]. Where is `search_in="hdr" header="RSeq:"` or `search_in="body"`.
func ExpectWith(code int, where, pattern, name string, more ...string) Step {
	return Step(fmt.Sprintf("<recv response=\"%d\" %s>%s</recv>", code, strings.Join(more, " "), action(where, pattern, name)))
}

// ExpectRequest waits for a request; see ExpectWith for the pattern.
func ExpectRequest(method, where, pattern, name string) Step {
	return Step(fmt.Sprintf("<recv request=\"%s\" rrs=\"true\">%s</recv>", method, action(where, pattern, name)))
}

func action(where, pattern, name string) string {
	if pattern == "" {
		return ""
	}
	return fmt.Sprintf("<action><ereg regexp=\"%s\" %s check_it=\"true\" assign_to=\"%s\"/><log message=\"%s is [$%s]\"/></action>", strings.NewReplacer("<", "&lt;", `"`, "&quot;").Replace(pattern), where, name, name, name)
}

// Play sends the scenario's file over and over, from the port its description
// names.
func Play() Step {
	return `<nop><action><exec rtp_stream="[play],-1,0,PCMU/8000"/></action></nop>`
}

// Pause waits.
func Pause(d time.Duration) Step {
	return Step(fmt.Sprintf("<pause milliseconds=\"%d\"/>", d.Milliseconds()))
}

// Run plays the scenario; an error holds what sipp said and saw.
func (s SIPp) Run(ctx context.Context) error {
	body := make([]string, len(s.Steps))
	for i, step := range s.Steps {
		body[i] = string(step)
	}
	text := "<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<scenario name=\"s\">\n" + strings.Join(body, "\n") + "\n</scenario>\n"
	if s.Play != "" {
		text = strings.NewReplacer("[play]", s.Play, "[media_port]", "[rtpstream_audio_port]").Replace(text)
	}
	text = strings.NewReplacer("[user]", s.User, "[domain]", s.Domain, "[service]", s.Callee,
		"[auth]", fmt.Sprintf("[authentication username=%s password=%s]", s.User, s.Password)).Replace(text)
	file := filepath.Join(s.Dir, "scenario.xml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	transport := "u1"
	if s.TCP {
		transport = "t1"
	}
	cmd := s.Command(ctx, "sipp", s.Server.String(), "-sf", file, "-t", transport, "-i", s.Local.Addr().String(), "-p", fmt.Sprint(s.Local.Port()),
		"-mi", s.Local.Addr().String(), "-mp", fmt.Sprint(s.Local.Port()+1000), "-m", "1", "-nostdin", "-timeout", "25s", "-timeout_error", "-recv_timeout", "20000",
		"-trace_msg", "-message_file", filepath.Join(s.Dir, "messages"), "-trace_err", "-error_file", filepath.Join(s.Dir, "errors"))
	cmd.Dir = s.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		messages, _ := os.ReadFile(filepath.Join(s.Dir, "messages"))
		errors, _ := os.ReadFile(filepath.Join(s.Dir, "errors"))
		return fmt.Errorf("sipp: %w\n%s\n%.3000s\n%s", err, errors, messages, out[max(0, len(out)-300):])
	}
	return nil
}
