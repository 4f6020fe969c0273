package interop

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/clients"
)

// within is a context that ends in time for a test to say why.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// registeredOver demands that the PBX lists a number as registered on a listener.
func (b *bench) registeredOver(t *testing.T, number string, over ports.ID) {
	t.Helper()
	var list struct {
		Items []struct{ Number, Listener string }
	}
	if err := b.pbx.Admin(t).Do(t.Context(), "GET", "/registrations", nil, &list); err != nil {
		t.Fatal(err)
	}
	var on []string
	for _, r := range list.Items {
		if r.Number == number {
			on = append(on, r.Listener)
		}
	}
	if !slices.Equal(on, []string{string(over)}) {
		t.Errorf("%s is registered over %v, not %s", number, on, over)
	}
}

// established waits until all are in a call.
func established(t *testing.T, all ...*clients.Baresip) {
	t.Helper()
	ctx := within(t, 30*time.Second)
	for _, p := range all {
		if _, err := p.Wait(ctx, "CALL_ESTABLISHED"); err != nil {
			t.Fatal(err)
		}
	}
}

// closed waits until the current call of each has ended.
func closed(t *testing.T, all ...*clients.Baresip) {
	t.Helper()
	ctx := within(t, 30*time.Second)
	for _, p := range all {
		if _, err := p.Wait(ctx, "CALL_CLOSED"); err != nil {
			t.Fatal(err)
		}
	}
}

func do(t *testing.T, p *clients.Baresip, command, params string) {
	t.Helper()
	if _, err := p.Do(command, params); err != nil {
		t.Fatalf("%v; log:\n%s", err, p.Log())
	}
}

// recordings are what a closed baresip heard, call by call.
func recordings(t *testing.T, p *clients.Baresip) (all []siptest.Heard) {
	t.Helper()
	files, err := p.Heard()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		h, err := siptest.HeardWAV(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
	return all
}

// last keeps the end of what was heard, but for the very last moment, which is
// cut by the end of the call.
func last(h siptest.Heard, d time.Duration) siptest.Heard {
	n, cut := int(d.Seconds()*float64(h.Rate)), h.Rate/10
	if len(h.Samples) > n+cut {
		h.Samples = h.Samples[len(h.Samples)-n-cut : len(h.Samples)-cut]
	}
	return h
}

// Three baresips, on UDP, TCP and TLS, call each other in a circle: every call
// crosses from one transport to another, and each hears who it talks to alone.
func TestBaresipAcrossTransports(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	over := []ports.ID{ports.SIPUDP, ports.SIPTCP, ports.SIPTLS}
	numbers, tones := []string{"101", "102", "103"}, []float64{440, 660, 880}
	var phones []*clients.Baresip
	for i, id := range over {
		phones = append(phones, b.baresipOver(t, id, numbers[i], i, int(tones[i]), ";answermode=auto"))
		b.registeredOver(t, numbers[i], id)
	}
	want := make([][]float64, 3)
	for i := range 3 {
		j := (i + 1) % 3
		do(t, phones[i], "dial", numbers[j])
		established(t, phones[i], phones[j])
		time.Sleep(2 * time.Second)
		do(t, phones[j], "hangup", "")
		closed(t, phones[i], phones[j])
		want[i], want[j] = append(want[i], tones[j]), append(want[j], tones[i])
	}
	for i, p := range phones {
		p.Close()
		heard := recordings(t, p)
		if len(heard) != 2 {
			t.Fatalf("%s has %d recordings; log:\n%s", numbers[i], len(heard), p.Log())
		}
		for k, h := range heard {
			others := slices.DeleteFunc(slices.Clone(tones), func(f float64) bool { return f == want[i][k] })
			if err := h.Middle(time.Second).Only(want[i][k], others...); err != nil {
				t.Errorf("%s in call %d: %v", numbers[i], k, err)
			}
		}
	}
	for _, r := range records(t, b.pbx.Admin(t), 3) {
		if r.Reason != "callee_hung_up" || r.Status != 200 {
			t.Errorf("call record %+v", r)
		}
	}
}

// A baresip on each transport holds and resumes a call with a phone on
// another: the far end is told, hears nothing of it meanwhile and all of it
// afterwards; and the other way round.
func TestBaresipHoldsAndResumes(t *testing.T) {
	t.Parallel()
	b := newBench(t, "-extensions", "6")
	for i, c := range []struct{ near, far ports.ID }{{ports.SIPUDP, ports.SIPTLS}, {ports.SIPTCP, ports.SIPUDP}, {ports.SIPTLS, ports.SIPTCP}} {
		t.Run(transport(c.near), func(t *testing.T) {
			t.Parallel()
			ctx := within(t, time.Minute)
			near := b.baresipOver(t, c.near, fmt.Sprint(101+i), i, 440, "")
			far := b.phoneOver(t, c.far, fmt.Sprint(104+i), 880)
			if err := far.Register(ctx); err != nil {
				t.Fatal(err)
			}
			do(t, near, "dial", fmt.Sprint(104+i))
			call := answer(ctx, t, far)
			established(t, near)
			hears(ctx, t, call, 440, 880)

			do(t, near, "hold", "")
			if err := call.WaitDirection(ctx, "sendonly"); err != nil {
				t.Fatal(err)
			}
			stays(t, call, 440)
			do(t, near, "resume", "")
			if err := call.WaitDirection(ctx, "sendrecv"); err != nil {
				t.Fatal(err)
			}
			hears(ctx, t, call, 440, 880)

			before := len(near.Log())
			if err := call.Hold(ctx); err != nil {
				t.Fatal(err)
			}
			if said := near.Log()[before:]; !strings.Contains(said, "a=sendonly") || !strings.Contains(said, "a=recvonly") {
				t.Errorf("baresip was not held:\n%s", said)
			}
			if err := call.Resume(ctx); err != nil {
				t.Fatal(err)
			}
			hears(ctx, t, call, 440, 880)
			do(t, near, "hangup", "")
			if err := call.Wait(ctx, siptest.Ended); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// answer takes a phone's next call.
func answer(ctx context.Context, t *testing.T, p *siptest.Phone) *siptest.Call {
	t.Helper()
	c, err := p.WaitCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ring(); err != nil {
		t.Fatal(err)
	}
	if err := c.Answer(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(ctx, siptest.Answered); err != nil {
		t.Fatal(err)
	}
	return c
}

// hears demands that a phone hears one tone, from now on, and none of the others.
func hears(ctx context.Context, t *testing.T, c *siptest.Call, want float64, never ...float64) {
	t.Helper()
	time.Sleep(200 * time.Millisecond) // what was under way
	c.Forget()
	h, err := c.Hear(ctx, time.Second)
	if err != nil {
		t.Fatalf("heard %v: %v", h, err)
	}
	if err := h.Only(want, never...); err != nil {
		t.Errorf("%v: %v", h, err)
	}
}

// stays demands that a phone hears nothing of a tone.
func stays(t *testing.T, c *siptest.Call, tone float64) {
	t.Helper()
	time.Sleep(300 * time.Millisecond)
	c.Forget()
	time.Sleep(700 * time.Millisecond)
	if h := c.Heard(); h.Share(tone) > 0.5 { // there is music, and some of it may be of that pitch
		t.Errorf("held, and heard %v: %.2f of it %.0f Hz", h, h.Share(tone), tone)
	}
}
