package dtls

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/dtls/v3"
)

// outcome is what Done was called with.
type outcome struct {
	keys Keys
	err  error
}

// party is one end of a test, and where its datagrams go.
type party struct {
	*Association
	done chan outcome
	to   atomic.Pointer[func([]byte)]
}

func certificate(t testing.TB) *Certificate {
	t.Helper()
	c, err := NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start starts an association that sends into to.
func start(t testing.TB, c Config) *party {
	t.Helper()
	p := &party{done: make(chan outcome, 1)}
	c.Send = func(b []byte) {
		if to := p.to.Load(); to != nil {
			(*to)(bytes.Clone(b))
		}
	}
	c.Done = func(k Keys, err error) { p.done <- outcome{k, err} }
	a, err := Start(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	p.Association = a
	t.Cleanup(func() { a.Close(); <-a.Ended() })
	return p
}

// join makes two parties each other's peers. lose says which of all datagrams
// are lost.
func join(a, b *party, lose func(n int) bool) {
	var mu sync.Mutex
	n := 0
	wire := func(p *party) *func([]byte) {
		f := func(d []byte) {
			mu.Lock()
			n++
			lost := lose != nil && lose(n)
			mu.Unlock()
			if !lost {
				p.Deliver(d)
			}
		}
		return &f
	}
	a.to.Store(wire(b))
	b.to.Store(wire(a))
}

func agree(t *testing.T, a, b *party, want Profile) {
	t.Helper()
	x, y := <-a.done, <-b.done
	if x.err != nil || y.err != nil {
		t.Fatalf("handshake: %v, %v", x.err, y.err)
	}
	if x.keys.Profile != want || y.keys.Profile != want {
		t.Errorf("profiles %v and %v, want %v", x.keys.Profile, y.keys.Profile, want)
	}
	key, salt := want.lengths()
	if len(x.keys.LocalKey) != key || len(x.keys.LocalSalt) != salt || len(x.keys.RemoteKey) != key || len(x.keys.RemoteSalt) != salt {
		t.Errorf("keys of %d and %d bytes, salts of %d and %d", len(x.keys.LocalKey), len(x.keys.RemoteKey), len(x.keys.LocalSalt), len(x.keys.RemoteSalt))
	}
	if !bytes.Equal(x.keys.LocalKey, y.keys.RemoteKey) || !bytes.Equal(x.keys.RemoteKey, y.keys.LocalKey) ||
		!bytes.Equal(x.keys.LocalSalt, y.keys.RemoteSalt) || !bytes.Equal(x.keys.RemoteSalt, y.keys.LocalSalt) || bytes.Equal(x.keys.LocalKey, x.keys.RemoteKey) {
		t.Error("what one sends with is not what the other receives with")
	}
}

func TestHandshakeAgreesOn256Bit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		one, two := certificate(t), certificate(t)
		a := start(t, Config{Certificate: one, Role: Client, Remote: []Fingerprint{two.Fingerprint()}})
		b := start(t, Config{Certificate: two, Role: Server, Remote: []Fingerprint{one.Fingerprint()}})
		join(a, b, nil)
		agree(t, a, b, AEADAES256GCM)
	})
}

func TestLostPacketsAreSentAgain(t *testing.T) {
	t.Parallel()
	random := func(seed uint64, share float64) func(int) bool {
		r := mathrand.New(mathrand.NewPCG(seed, seed))
		return func(int) bool { return r.Float64() < share }
	}
	for name, lose := range map[string]func(int) bool{
		"the first of each": func(n int) bool { return n <= 2 },
		"a flight":          func(n int) bool { return n > 3 && n < 9 },
		"the last but one":  func(n int) bool { return n == 5 },
		"the last":          func(n int) bool { return n == 6 },
		"a fifth":           random(1, 0.2),
		"a third":           random(2, 0.33),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				one, two := certificate(t), certificate(t)
				a := start(t, Config{Certificate: one, Role: Client, Remote: []Fingerprint{two.Fingerprint()}})
				b := start(t, Config{Certificate: two, Role: Server, Remote: []Fingerprint{one.Fingerprint()}})
				join(a, b, lose)
				agree(t, a, b, AEADAES256GCM)
			})
		})
	}
}

func TestWrongFingerprintFailsTheHandshakeWithAnAlert(t *testing.T) {
	t.Parallel()
	for _, deceived := range []Role{Client, Server} {
		synctest.Test(t, func(t *testing.T) {
			one, two, promised := certificate(t), certificate(t), certificate(t)
			a := start(t, Config{Certificate: one, Role: deceived, Remote: []Fingerprint{promised.Fingerprint()}})
			b := start(t, Config{Certificate: two, Role: deceived.Peer(), Remote: []Fingerprint{one.Fingerprint()}})
			join(a, b, nil)
			started := time.Now()
			if x := <-a.done; !errors.Is(x.err, ErrFingerprint) || x.keys.LocalKey != nil {
				t.Errorf("deceived: %v", x.err)
			}
			if y := <-b.done; !errors.Is(y.err, ErrAlert) {
				t.Errorf("deceiver: %v", y.err)
			}
			if took := time.Since(started); took > grace+time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestAnyOfTheStrongestFingerprintsWillDo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		one, two, other := certificate(t), certificate(t), certificate(t)
		strong := func(c *Certificate) Fingerprint {
			return Fingerprint{sha2_512, string(sha2_512.of(c.tls.Certificate[0]))}
		}
		a := start(t, Config{Certificate: one, Role: Client, Remote: []Fingerprint{strong(other), other.Fingerprint(), strong(two)}})
		b := start(t, Config{Certificate: two, Role: Server, Remote: []Fingerprint{one.Fingerprint()}})
		join(a, b, nil)
		agree(t, a, b, AEADAES256GCM)
		c := start(t, Config{Certificate: one, Role: Client, Remote: []Fingerprint{strong(other), two.Fingerprint()}})
		d := start(t, Config{Certificate: two, Role: Server, Remote: []Fingerprint{one.Fingerprint()}})
		join(c, d, nil)
		if x := <-c.done; !errors.Is(x.err, ErrFingerprint) {
			t.Errorf("a weaker fingerprint than the strongest was enough: %v", x.err)
		}
	})
}

// pion is a bare peer of the library, as other products use it.
func pion(t *testing.T, role Role, cert *Certificate, list ...dtls.SRTPProtectionProfile) (*party, chan outcome) {
	t.Helper()
	p := &party{Association: &Association{giveUp: func(error) {}}}
	p.pipe = newPipe(func(b []byte) {
		if to := p.to.Load(); to != nil {
			(*to)(bytes.Clone(b))
		}
	})
	config := &dtls.Config{Certificates: []tls.Certificate{cert.tls}, SRTPProtectionProfiles: list, InsecureSkipVerify: true,
		VerifyPeerCertificate: func([][]byte, [][]*x509.Certificate) error { return nil }, ClientAuth: dtls.RequireAnyClientCert}
	conn, err := dtls.Server(p.pipe, nowhere{}, config)
	if role == Client {
		conn, err = dtls.Client(p.pipe, nowhere{}, config)
	}
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan outcome, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		err := conn.HandshakeContext(ctx)
		var k Keys
		if err == nil {
			k, err = keysOf(conn, role)
		}
		result <- outcome{k, err}
		if err == nil {
			_, _ = conn.Read(make([]byte, 1500))
		}
		_ = conn.Close()
	}()
	return p, result
}

func TestProfileIsTheBestOfWhatTheLibraryOffers(t *testing.T) {
	t.Parallel()
	all := []dtls.SRTPProtectionProfile{dtls.SRTP_AES128_CM_HMAC_SHA1_80, dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM}
	for _, c := range []struct {
		role    Role // of the library
		list    []dtls.SRTPProtectionProfile
		only256 bool
		want    Profile // 0 is a failure
	}{
		{Client, all, false, AEADAES256GCM},
		{Client, all[:2], false, AEADAES128GCM},
		{Client, all[:1], false, AES128CMHMACSHA180},
		{Client, all, true, AEADAES256GCM},
		{Client, all[:2], true, 0},
		{Server, all[:1], false, AES128CMHMACSHA180},
		{Server, all[2:], true, AEADAES256GCM},
		{Server, all[:2], true, 0},
		{Client, []dtls.SRTPProtectionProfile{dtls.SRTP_AES128_CM_HMAC_SHA1_32}, false, 0},
		{Client, nil, false, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			one, two := certificate(t), certificate(t)
			p, result := pion(t, c.role, two, c.list...)
			a := start(t, Config{Certificate: one, Role: c.role.Peer(), Remote: []Fingerprint{two.Fingerprint()}, Only256: c.only256})
			join(a, p, nil)
			x, y := <-a.done, <-result
			if c.want == 0 {
				if x.err == nil {
					t.Errorf("%v offering %v, 256 only %v: agreed on %v", c.role, c.list, c.only256, x.keys.Profile)
				}
			} else if x.err != nil || y.err != nil || x.keys.Profile != c.want || !bytes.Equal(x.keys.LocalKey, y.keys.RemoteKey) {
				t.Errorf("%v offering %v: %v (%v), %v, want %v", c.role, c.list, x.keys.Profile, x.err, y.err, c.want)
			}
			a.Close()
			<-a.Ended()
			_ = p.pipe.Close()
		})
	}
}

func TestGarbageDoesNotEndTheHandshake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		one, two := certificate(t), certificate(t)
		a := start(t, Config{Certificate: one, Role: Client, Remote: []Fingerprint{two.Fingerprint()}})
		b := start(t, Config{Certificate: two, Role: Server, Remote: []Fingerprint{one.Fingerprint()}})
		flood := func() {
			for n := range 200 {
				d := make([]byte, 1+n)
				rand.Read(d)
				d[0] = byte(20 + n%44)
				if n%2 == 0 && len(d) > recordHeader {
					copy(d[1:], []byte{0xfe, 0xfd, 0, byte(n % 3), 0, 0, 0, 0, 0, byte(n), byte((n - 13 + n%5) >> 8), byte(n - 12)})
				}
				a.Deliver(bytes.Clone(d))
				b.Deliver(d)
			}
			for _, p := range []*party{a, b} {
				p.Deliver([]byte{alert, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 200, 0, 2, fatal, 40})                  // a forged alert
				p.Deliver([]byte{applicationData, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 201, 0, 1, 0})                // data in the clear
				p.Deliver([]byte{changeCipherSpec, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 202, 0, 2, 9, 9})            // not what it says
				p.Deliver([]byte{99, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 203, 0, 1, 0})                             // no content type
				p.Deliver(append([]byte{handshake, 3, 3, 0, 0, 0, 0, 0, 0, 0, 204, 0, 40}, make([]byte, 40)...)) // TLS
			}
		}
		flood()
		join(a, b, func(n int) bool { flood(); return false })
		agree(t, a, b, AEADAES256GCM)
		time.Sleep(2 * grace) // the forged alert comes too late
		select {
		case <-a.Ended():
			t.Error("a forged alert ended the association")
		case <-b.Ended():
			t.Error("a forged alert ended the association")
		default:
		}
	})
}

func TestHandshakeEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	for _, role := range []Role{Client, Server} {
		synctest.Test(t, func(t *testing.T) {
			one, two := certificate(t), certificate(t)
			a := start(t, Config{Certificate: one, Role: role, Remote: []Fingerprint{two.Fingerprint()}})
			started := time.Now()
			if x := <-a.done; !errors.Is(x.err, ErrTimeout) {
				t.Errorf("ended with %v", x.err)
			}
			if took := time.Since(started); took != Timeout {
				t.Errorf("took %v", took)
			}
			<-a.Ended()
		})
	}
}

func TestCloseTellsThePeerAndEndsEveryGoroutine(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"after", "during"} {
		synctest.Test(t, func(t *testing.T) { // fails when a goroutine is left
			one, two := certificate(t), certificate(t)
			a := start(t, Config{Certificate: one, Role: Client, Remote: []Fingerprint{two.Fingerprint()}})
			b := start(t, Config{Certificate: two, Role: Server, Remote: []Fingerprint{one.Fingerprint()}})
			if when == "during" {
				synctest.Wait()
				a.Close()
				b.Close()
				if x := <-a.done; !errors.Is(x.err, ErrClosed) {
					t.Errorf("ended with %v", x.err)
				}
				return
			}
			join(a, b, nil)
			agree(t, a, b, AEADAES256GCM)
			a.Close()
			a.Close()
			<-a.Ended()
			<-b.Ended() // by the close_notify
			a.Deliver([]byte{handshake})
		})
	}
}

func TestNothingStartsWithoutAFingerprint(t *testing.T) {
	t.Parallel()
	if _, err := Start(context.Background(), Config{Certificate: certificate(t)}); !errors.Is(err, ErrFingerprint) {
		t.Errorf("started: %v", err)
	}
}

func TestFinalFlightIsRepeatedForAPeerThatMissedIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		one, two := certificate(t), certificate(t)
		a := start(t, Config{Certificate: one, Role: Client, Remote: []Fingerprint{two.Fingerprint()}})
		b := start(t, Config{Certificate: two, Role: Server, Remote: []Fingerprint{one.Fingerprint()}})
		var finished atomic.Bool
		lost := 0
		join(a, b, func(int) bool {
			if finished.Load() && lost < 2 {
				lost++
				return true
			}
			return false
		})
		y := <-b.done
		finished.Store(true)
		x := <-a.done
		if x.err != nil || y.err != nil {
			t.Fatal(x.err, y.err)
		}
	})
}
