package debian

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

// lineUnit is a shell on a machine's second serial line, for the tests: what
// they look at does not depend on the network, nor on where sshd is, and does
// not count as a log-in. It speaks by pipes, or it would prompt, and programs would
// write for people.
const lineUnit = `[Unit]
DefaultDependencies=no
After=local-fs.target

[Service]
ExecStart=/bin/sh -c 'exec 3<>/dev/ttyS1; stty raw -echo clocal <&3; echo >&3; echo "lab ready" >&3; cat <&3 | sh 2>&1 | cat >&3'

[Install]
WantedBy=sysinit.target
`

// line is the host's end.
type line struct {
	conn net.Conn
	in   *bufio.Reader
	n    int
}

func dialLine(path string) (*line, error) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return nil, fmt.Errorf("opening the serial line: %w", err)
	}
	return &line{conn: conn, in: bufio.NewReader(conn)}, nil
}

// ready waits for the shell of the next boot.
func (l *line) ready(ctx context.Context) error {
	_, err := l.until(ctx, "lab ready")
	return err
}

// until reads what comes before the line that begins with a mark, and that
// line's rest.
func (l *line) until(ctx context.Context, mark string) (out [2]string, err error) {
	deadline, _ := ctx.Deadline()
	_ = l.conn.SetReadDeadline(deadline)
	var text strings.Builder
	for {
		s, err := l.in.ReadString('\n')
		if err != nil {
			return out, fmt.Errorf("waiting for %q on the serial line: %w, after\n%s", mark, err, tail([]byte(text.String())))
		}
		if rest, found := strings.CutPrefix(s, mark); found {
			return [2]string{text.String(), strings.TrimSpace(rest)}, nil
		}
		text.WriteString(s)
	}
}

// send starts a command and does not wait for its end.
func (l *line) send(command string) error {
	_ = l.conn.SetWriteDeadline(time.Now().Add(time.Minute))
	_, err := fmt.Fprintln(l.conn, command)
	return err
}

// run runs a command and returns what it said.
func (l *line) run(ctx context.Context, args ...string) (string, error) {
	for i, a := range args {
		args[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	l.n++
	mark := fmt.Sprintf("lab end %d:", l.n)
	// An empty line is taken off again: the command's output may not end with one.
	if err := l.send(fmt.Sprintf(`DEBIAN_FRONTEND=noninteractive LC_ALL=C %s </dev/null; printf '\n%s %%d\n' $?`, strings.Join(args, " "), mark)); err != nil {
		return "", err
	}
	out, err := l.until(ctx, mark)
	if err != nil {
		return out[0], err
	}
	text := strings.TrimSuffix(out[0], "\n")
	if out[1] != "0" {
		return text, fmt.Errorf("status %s", out[1])
	}
	return text, nil
}
