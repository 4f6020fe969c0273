package firewall

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// anyPort binds a port of the kernel's choice instead of the table's.
func anyPort(t *testing.T) (uint16, func(*Options)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	return port, func(o *Options) { o.challengePort = port }
}

// answers says whether something accepts on the port and says hello.
func answers(port uint16) bool {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	b, err := io.ReadAll(c)
	return err == nil && string(b) == "hello"
}

// greet serves a window until it closes.
func greet(l net.Listener) (ended chan struct{}) {
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("hello"))
			_ = c.Close()
		}
	}()
	return ended
}

func TestChallengeWindowOpensAndCloses(t *testing.T) {
	t.Parallel()
	k := &fakeKernel{}
	port, own := anyPort(t)
	f := newFence(t, shortDir(t), k, own)
	c := f.dial(t)
	w, err := c.OpenChallenge(t.Context(), time.Minute)
	must(t, err)
	ended := greet(w)
	if !answers(port) {
		t.Error("nobody answers in the window")
	}
	if got := k.set(setChallenge); len(got) != 1 || got["\x00\x50"] != time.Minute {
		t.Errorf("the packet filter holds %v", got)
	}
	st, err := c.Status(t.Context())
	must(t, err)
	if left := time.Until(st.ChallengeUntil); left < 50*time.Second || left > time.Minute {
		t.Errorf("the window closes in %s", left)
	}
	_, err = c.OpenChallenge(t.Context(), time.Minute)
	wantErr(t, err, ErrRefused)
	must(t, w.Close())
	<-ended
	eventually(t, "the window closed", func() bool { return len(k.set(setChallenge)) == 0 && f.challengeUntil().IsZero() })
	if answers(port) {
		t.Error("the port answers after the window")
	}
	w, err = c.OpenChallenge(t.Context(), time.Minute)
	must(t, err)
	must(t, w.Close())
}

// Whoever holds the socket cannot keep the window open: its time ends it, and
// the socket with it.
func TestChallengeWindowEndsByItself(t *testing.T) {
	t.Parallel()
	k := &fakeKernel{}
	port, own := anyPort(t)
	f := newFence(t, shortDir(t), k, own)
	w, err := f.dial(t).OpenChallenge(t.Context(), time.Second)
	must(t, err)
	defer w.Close()
	select {
	case <-greet(w):
	case <-time.After(20 * time.Second):
		t.Fatal("the socket still listens")
	}
	if answers(port) || len(k.set(setChallenge)) != 0 || !f.challengeUntil().IsZero() {
		t.Error("the window is still open")
	}
}

// The window ends with the connection that asked for it: the PBX may die.
func TestChallengeWindowEndsWithItsClient(t *testing.T) {
	t.Parallel()
	k := &fakeKernel{}
	port, own := anyPort(t)
	f := newFence(t, shortDir(t), k, own)
	w, err := f.dial(t).OpenChallenge(t.Context(), time.Minute)
	must(t, err)
	ended := greet(w)
	must(t, w.conn.Close())
	<-ended
	eventually(t, "the window closed", func() bool { return len(k.set(setChallenge)) == 0 && f.challengeUntil().IsZero() })
	if answers(port) {
		t.Error("the port answers")
	}
}

func TestChallengeWindowRefusals(t *testing.T) {
	t.Parallel()
	k := &fakeKernel{}
	port, own := anyPort(t)
	f := newFence(t, shortDir(t), k, own)
	c := f.dial(t)
	for _, ttl := range []time.Duration{0, time.Millisecond, MaxChallenge + 1, -time.Hour} {
		_, err := c.OpenChallenge(t.Context(), ttl)
		wantErr(t, err, ErrRefused)
	}
	busy, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	must(t, err)
	defer busy.Close()
	if _, err := c.OpenChallenge(t.Context(), time.Minute); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("a port of another program was taken: %v", err)
	}
	if len(k.set(setChallenge)) != 0 || !f.challengeUntil().IsZero() {
		t.Error("the packet filter is open although nothing listens")
	}
}
