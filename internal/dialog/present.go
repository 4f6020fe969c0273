package dialog

import "ringfence/internal/sip"

// Present sets what INVITEs of ours and 2xx to the peer's say besides the
// headers of Params: whom the peer talks with. Call it in the mailbox.
func (l *Leg) Present(headers ...sip.Header) { l.presented = headers }

// Joined reports whether what is put into the two runs one at a time, since a
// Join or because they are the same.
func (m *Mailbox) Joined(o *Mailbox) bool {
	a := m.root()
	a.mu.Unlock()
	b := o.root()
	b.mu.Unlock()
	return a == b
}
