package keeper

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Listen opens the socket at path for its owner and group gid (-1 leaves the
// group). A socket that a process left behind is replaced.
func Listen(path string, gid int) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("replacing socket: %w", err)
	}
	old := unix.Umask(0o177) // nobody connects before the owner is right
	ln, err := net.Listen("unix", path)
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("opening socket: %w", err)
	}
	if gid >= 0 {
		err = os.Chown(path, -1, gid)
	}
	if err = errors.Join(err, os.Chmod(path, 0o660)); err != nil {
		return nil, errors.Join(fmt.Errorf("opening socket: %w", err), ln.Close())
	}
	return ln, nil
}

// Server answers requests of processes whose user is one of Users.
type Server struct {
	System System
	Users  []int
	Logger *slog.Logger

	one sync.Mutex // operations exclude each other
}

// Serve answers until the context ends or the listener fails, then waits for
// the clients that are left.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	var clients sync.WaitGroup
	defer clients.Wait()
	free := make(chan struct{}, maxClients)
	for {
		conn, err := ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("accepting a client: %w", err)
		}
		select {
		case free <- struct{}{}:
		default:
			_ = conn.Close() // as many as that are no honest clients
			continue
		}
		clients.Go(func() {
			defer func() { <-free }()
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(callTimeout))
			s.client(conn)
		})
	}
}

func (s *Server) client(conn net.Conn) {
	uid, err := peer(conn)
	if err != nil || !slices.Contains(s.Users, uid) {
		s.Logger.Warn("client refused", "uid", uid, "err", err)
		return
	}
	line, err := readLine(conn, maxRequest)
	var answer Answer
	var req Request
	if err == nil {
		err = decode(line, &req)
	}
	if err != nil {
		answer.Error = "request not understood"
	} else {
		answer = s.answer(uid, req)
	}
	if out, err := json.Marshal(answer); err == nil {
		_, _ = conn.Write(append(out, '\n'))
	}
}

func (s *Server) answer(uid int, req Request) (a Answer) {
	s.one.Lock()
	defer s.one.Unlock()
	var err error
	switch req.Op {
	case OpStatus:
		var st Status
		if st, err = s.System.Status(); err == nil {
			a.Status = &st
		}
	case OpReboot:
		err = s.System.Reboot()
	case OpPowerOff:
		err = s.System.PowerOff()
	case OpHostname:
		err = s.System.SetHostname(req.Hostname)
	case OpClock:
		err = s.System.SetClock(req.Time)
	case OpFactoryReset:
		err = s.System.FactoryReset()
	case OpInstall:
		err = ErrUnsupported
	default:
		err = errors.New("unknown operation")
	}
	if err != nil {
		a.Error = err.Error()
	}
	if req.Op != OpStatus {
		s.Logger.Info("operation", "op", string(req.Op), "uid", uid, "err", err)
	}
	return a
}

// peer is the user at the other end (unix(7), SO_PEERCRED).
func peer(conn net.Conn) (int, error) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return -1, errors.New("not a unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return -1, err
	}
	uid := -1
	var cerr error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); cerr == nil {
			uid = int(cred.Uid)
		}
	})
	return uid, errors.Join(err, cerr)
}

// readLine reads up to a line feed, no more than limit bytes.
func readLine(r io.Reader, limit int) ([]byte, error) {
	var line []byte
	buf := make([]byte, 1024)
	for {
		n, err := r.Read(buf)
		line = append(line, buf[:n]...)
		if i := bytes.IndexByte(line, '\n'); i >= 0 && i <= limit {
			return line[:i], nil
		}
		if len(line) > limit {
			return nil, fmt.Errorf("line is longer than %d bytes", limit)
		}
		if err != nil {
			return nil, err
		}
	}
}

// decode reads exactly one value without unknown fields.
func decode(line []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}
