package pbx_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ringfence/internal/audio"
	files "ringfence/internal/audio/record"
	"ringfence/internal/b2bua"
	"ringfence/internal/media"
	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
)

// recorded reads the two voices of a file.
func recorded(t *testing.T, path string) (left, right []int16, rate int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in, err := files.NewWAVReader(f)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]int16, 8000)
	for {
		n, err := in.Read(buf)
		for i := 0; i+1 < n; i += 2 {
			left, right = append(left, buf[i]), append(right, buf[i+1])
		}
		if err == io.EOF {
			return left, right, in.Rate
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// onset is when a voice begins.
func onset(pcm []int16, rate int) time.Duration {
	n := rate / 500
	for i := 0; i+n <= len(pcm); i += n {
		if audio.NoiseOf(pcm[i:i+n]) < 30 {
			return time.Duration(i) * time.Second / time.Duration(rate)
		}
	}
	return -1
}

// A call between a phone with SRTP and one without is recorded: each voice on
// its side, also when it is the callee's recording; through a hold; what both
// begin to say at one time begins at one place; and the file lasts as long as
// the recording did.
func TestCallsAreRecorded(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	a := p.PhoneOn(ports.SIPUDP, "101", 440, func(c *siptest.Config) {
		c.Suites, c.Codecs = []string{"AEAD_AES_256_GCM"}, []string{"PCMU"}
	})
	b := p.PhoneOn(ports.SIPUDP, "102", 880, func(c *siptest.Config) { c.Codecs = []string{"PCMA"} })
	ctx := within(t, time.Minute)
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	out, err := a.Call(ctx, "102")
	fail(err)
	in, err := b.WaitCall(ctx)
	fail(err)
	id := p.LiveCalls()[0].ID
	if _, err := p.RecordCall(ctx, id, b2bua.Caller, media.RecordOptions{Path: "x"}); err == nil {
		t.Error("a call is recorded that rings")
	}
	out.Mute(true)
	in.Mute(true)
	fail(in.Answer())
	fail(out.Wait(ctx, siptest.Answered))
	if out.Suite() == "" || in.Suite() != "" {
		t.Errorf("suites %q and %q", out.Suite(), in.Suite())
	}
	folder, began := t.TempDir(), time.Now()
	first, err := p.RecordCall(ctx, id, b2bua.Caller, media.RecordOptions{Path: filepath.Join(folder, "caller.wav")})
	fail(err)
	second, err := p.RecordCall(ctx, id, b2bua.Callee, media.RecordOptions{Path: filepath.Join(folder, "callee.wav")})
	fail(err)
	time.Sleep(500 * time.Millisecond)
	out.Mute(false)
	in.Mute(false)
	time.Sleep(1500 * time.Millisecond)
	fail(out.Hold(ctx))
	fail(out.Resume(ctx))
	time.Sleep(time.Second)
	first.Stop()
	took := time.Since(began)
	<-first.Done()
	fail(out.HangUp())
	<-second.Done()
	for name, r := range map[string]*media.Recording{"caller": first, "callee": second} {
		left, right, rate := recorded(t, r.Outcome().Path)
		if o := r.Outcome(); o.Err != nil || o.Dropped+o.Unknown > 0 {
			t.Errorf("%s: %+v", name, o)
		}
		length := time.Duration(len(left)) * time.Second / time.Duration(rate)
		if d := length - took; d.Abs() > 300*time.Millisecond {
			t.Errorf("%s: %v, it took %v", name, length, took)
		}
		from, to := audio.Samples(700*time.Millisecond, rate), audio.Samples(1700*time.Millisecond, rate)
		for _, c := range []struct {
			what string
			pcm  []int16
			hz   float64
		}{{"left", left, 440}, {"right", right, 880}, {"left, resumed", left[len(left)-to:], 440}, {"right, resumed", right[len(right)-to:], 880}} {
			part := c.pcm[from:to]
			if s := siptest.Share(part, rate, c.hz); s < 0.9 {
				t.Errorf("%s: %s: share %.3f of %g Hz", name, c.what, s, c.hz)
			}
		}
		// The phones begin within one packet time of each other.
		if l, r := onset(left, rate), onset(right, rate); (l - r).Abs() > 40*time.Millisecond {
			t.Errorf("%s: the left begins at %v, the right at %v", name, l, r)
		}
	}
}
