package media

import (
	"bytes"
	"context"
	"testing"

	"ringfence/internal/media/dtls"
	"ringfence/internal/ports"
)

// A new certificate is for new calls: one in progress keeps the key its peer was
// told of, also in its next offers and answers.
func TestRenewedCertificateIsForNewCalls(t *testing.T) {
	t.Parallel()
	call, a, b := webLegs(t, 26060, nil)
	p, s := newPage(t, "127.0.0.1"), newSpeaker(t)
	answer := func() []byte {
		t.Helper()
		must(t, a.SetRemote(p.describe(dtls.Actpass)))
		_, err := b.Offer(a)
		must(t, err)
		must(t, b.SetRemote(s.describe("RTP/AVP")))
		out, err := a.Answer(b)
		must(t, err)
		return out
	}
	first := answer()
	p.connect(first)
	p.secured()
	old := []byte("a=fingerprint:" + call.engine.certificate.Load().Fingerprint().String())
	if !bytes.Contains(first, old) {
		t.Fatalf("%s\nlacks %s", first, old)
	}
	call.engine.RenewCertificate()
	bothHear(t, p, s, a, b)
	if again := answer(); !bytes.Equal(body(again), body(first)) {
		t.Errorf("the answer to the same offer is\n%safter\n%s", again, first)
	}
	if ours, err := a.Offer(b); err != nil || !bytes.Contains(ours, old) {
		t.Errorf("our offer names another certificate: %v\n%s", err, ours)
	}
	bothHear(t, p, s, a, b)
	other := call.engine.NewCall("other")
	t.Cleanup(other.Close)
	l, err := other.NewLeg(context.Background(), LegParams{Side: ports.Core, Local: loopback, Browser: true})
	must(t, err)
	if ours, err := l.Offer(nil); err != nil || bytes.Contains(ours, old) || !bytes.Contains(ours, []byte("a=fingerprint:"+call.engine.certificate.Load().Fingerprint().String())) {
		t.Errorf("a new call's offer: %v\n%s", err, ours)
	}
}
