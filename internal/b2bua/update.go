package b2bua

import (
	"ringfence/internal/dialog"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// Update: a side offers a changed session in an UPDATE or a PRACK.
func (c *call) Update(u *dialog.Update) { u.Reject(sip.Reply{Code: 488}) }

// Refresh keeps a session going whose phone does not take UPDATE.
func (c *call) Refresh(l *dialog.Leg) {}

// Expired: a side did not refresh its session in time.
func (c *call) Expired(l *dialog.Leg) { c.end(telephony.EndFailed, sip.Reply{Code: 408}) }
