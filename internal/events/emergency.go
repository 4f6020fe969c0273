package events

import "ringfence/internal/telephony"

// EmergencyCall says that somebody calls an emergency service: the extension is
// the call's Route.Account, the number that the service sees Route.CallerID.
type EmergencyCall struct {
	Call telephony.LiveCall
	Name string // of the service
}

func (EmergencyCall) event() {}
