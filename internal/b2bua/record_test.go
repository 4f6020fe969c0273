package b2bua

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ringfence/internal/audio/record"
	"ringfence/internal/media"
	"ringfence/internal/siptest"
)

// sides reads the two voices of a recording.
func sides(t *testing.T, path string) (left, right []int16) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in, err := record.NewWAVReader(f)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]int16, 2*in.Rate)
	for {
		n, err := in.Read(buf)
		for i := 0; i+1 < n; i += 2 {
			left, right = append(left, buf[i]), append(right, buf[i+1])
		}
		if err == io.EOF {
			return left, right
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A call is recorded for both parties, and one of them hands the other over:
// his recording ends with him; the other's goes on, with the new party on the
// side of the old one.
func TestRecordingOfATransferredCall(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a, b, c := o.start("101"), o.start("102"), o.start("103")
	out, in := o.connect(a, b, "102")
	o.talk(a, out, b, in)
	id := o.svc.Calls(1)[0].ID
	folder := t.TempDir()
	if _, err := o.svc.Record(o.ctx, 2, id, Caller, media.RecordOptions{Path: "x"}); !errors.Is(err, ErrNoCall) {
		t.Errorf("another tenant's call is recorded: %v", err)
	}
	his, err := o.svc.Record(o.ctx, 1, id, Caller, media.RecordOptions{Path: filepath.Join(folder, "his.wav")})
	o.must("recording", err)
	hers, err := o.svc.Record(o.ctx, 1, id, Callee, media.RecordOptions{Path: filepath.Join(folder, "hers.wav")})
	o.must("recording", err)
	time.Sleep(1200 * time.Millisecond)
	o.must("hold", out.Hold(o.ctx))
	o.must("transfer", out.Refer(o.ctx, "<sip:103@a.test>"))
	third, err := c.WaitCall(o.ctx)
	o.must("ringing", err)
	o.must("answering", third.Answer())
	o.talk(b, in, c, third)
	o.must("end", out.Wait(o.ctx, siptest.Ended))
	<-his.Done()
	if hers.Outcome().Finished {
		t.Error("her recording has ended with him")
	}
	time.Sleep(1200 * time.Millisecond)
	o.must("hanging up", in.HangUp())
	<-hers.Done()
	for name, r := range map[string]*media.Recording{"his": his, "hers": hers} {
		if x := r.Outcome(); x.Err != nil || x.Dropped+x.Unknown > 0 {
			t.Errorf("%s: %+v", name, x)
		}
	}
	heard := func(what string, pcm []int16, p *siptest.Phone) {
		t.Helper()
		if s := siptest.Share(pcm, 8000, o.tones[p]); s < 0.9 {
			t.Errorf("%s: share of %g Hz is %.3f", what, o.tones[p], s)
		}
	}
	const second = 8000
	left, right := sides(t, his.Outcome().Path)
	heard("his, left", left[second/4:second], a)
	heard("his, right", right[second/4:second], b)
	left, right = sides(t, hers.Outcome().Path)
	heard("hers, left", left[second/4:second], a)
	heard("hers, left at the end", left[len(left)-second:len(left)-second/4], c)
	heard("hers, right", right[second/4:len(right)-second/4], b)
	o.quitted(2)
}
