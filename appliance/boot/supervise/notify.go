package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxDatagram bounds a notification, in bytes.
const maxDatagram = 16 << 10

// Message is one notification (sd_notify(3)), as far as it means something
// here.
type Message struct {
	Ready           bool
	Watchdog        bool
	WatchdogTrigger bool
	Status          string // printable, at most 256 bytes
	Extend          time.Duration
	// Console is the value of X_CONSOLE, JSON for the console's screen.
	Console string
}

// ParseMessage reads a datagram's lines. Unknown keys are for other managers.
func ParseMessage(data string) Message {
	var m Message
	for line := range strings.SplitSeq(data, "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "READY":
			m.Ready = m.Ready || value == "1"
		case "WATCHDOG":
			m.Watchdog = m.Watchdog || value == "1"
			m.WatchdogTrigger = m.WatchdogTrigger || value == "trigger"
		case "STATUS":
			m.Status = clean(value, 256)
		case "EXTEND_TIMEOUT_USEC":
			if us, err := strconv.ParseInt(value, 10, 64); err == nil && us > 0 {
				m.Extend = time.Duration(min(us, int64(time.Hour/time.Microsecond))) * time.Microsecond
			}
		case "X_CONSOLE":
			m.Console = value
		}
	}
	return m
}

// clean keeps what can be printed, so that nothing steers a terminal.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	for len(s) > limit {
		runes := []rune(s)
		s = string(runes[:len(runes)*limit/len(s)])
	}
	return strings.TrimSpace(s)
}

// Notifications is the socket that services notify.
type Notifications struct {
	conn   *net.UnixConn
	logger *slog.Logger
}

// ListenNotify binds the socket at path for the members of group gid.
func ListenNotify(path string, gid int, logger *slog.Logger) (*Notifications, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing old notify socket: %w", err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("listening on notify socket: %w", err)
	}
	n := &Notifications{conn: conn, logger: logger}
	if err := n.prepare(path, gid); err != nil {
		return nil, errors.Join(fmt.Errorf("preparing notify socket: %w", err), conn.Close())
	}
	return n, nil
}

func (n *Notifications) prepare(path string, gid int) error {
	raw, err := n.conn.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = raw.Control(func(fd uintptr) {
		// The kernel then adds the sender's pid, uid and gid, which cannot be
		// forged, to each datagram.
		serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	})
	if err = errors.Join(err, serr); err != nil {
		return err
	}
	if gid >= 0 {
		if err := os.Chown(path, -1, gid); err != nil {
			return err
		}
	}
	return os.Chmod(path, 0o660)
}

// Close ends Serve.
func (n *Notifications) Close() error { return n.conn.Close() }

// Serve reads notifications until the context ends or Close, and hands those
// with credentials to deliver, which tells whether the sender is known.
func (n *Notifications) Serve(ctx context.Context, deliver func(pid int, m Message) bool) error {
	defer context.AfterFunc(ctx, func() { _ = n.conn.Close() })()
	buf := make([]byte, maxDatagram)
	oob := make([]byte, 4096)
	var quiet time.Time // no complaint before
	for {
		size, oobSize, flags, _, err := n.conn.ReadMsgUnix(buf, oob)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("reading notification: %w", err)
		}
		cred := credentials(oob[:oobSize])
		complaint := ""
		switch {
		case cred == nil:
			complaint = "it has no credentials"
		case flags&unix.MSG_TRUNC != 0:
			complaint = "it is too long"
		case !deliver(int(cred.Pid), ParseMessage(string(buf[:size]))):
			complaint = "its sender is no service's main process"
		}
		if complaint != "" && time.Now().After(quiet) {
			quiet = time.Now().Add(time.Minute)
			n.logger.Warn("notification left out", "why", complaint, "sender", senderOf(cred))
		}
	}
}

func senderOf(c *unix.Ucred) string {
	if c == nil {
		return "unknown"
	}
	return fmt.Sprintf("pid %d uid %d", c.Pid, c.Uid)
}

// credentials returns the sender's credentials and closes every descriptor
// that came along: nobody here wants any, and each would stay open for ever.
func credentials(oob []byte) (cred *unix.Ucred) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		if fds, err := unix.ParseUnixRights(&m); err == nil {
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
		} else if c, err := unix.ParseUnixCredentials(&m); err == nil {
			cred = c
		}
	}
	return cred
}
