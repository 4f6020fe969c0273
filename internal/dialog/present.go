package dialog

import "ringfence/internal/sip"

// Present sets what INVITEs of ours and 2xx to the peer's say besides the
// headers of Params: whom the peer talks with. Call it in the mailbox.
func (l *Leg) Present(headers ...sip.Header) { l.presented = headers }
