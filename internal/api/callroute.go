package api

import (
	"strconv"

	"ringfence/internal/telephony"
)

// CallRoute is how a call came in and where it went, as far as it touches the
// outside.
type CallRoute struct {
	Dialled   string `json:"dialled" doc:"What the caller dialled."`
	Sent      string `json:"sent" doc:"What the trunk was asked for, or empty."`
	CallerID  string `json:"caller_id" doc:"Number that the other side was shown; empty: none, or withheld."`
	InTrunk   int64  `json:"in_trunk" doc:"Trunk that it came in by, or 0."`
	DID       string `json:"did" doc:"Number that was called from outside, or empty."`
	OutTrunk  int64  `json:"out_trunk" doc:"Trunk that it went out by, or was tried last, or 0."`
	Class     string `json:"class" enum:",internal,emergency,local,national,mobile,international,premium" doc:"What sort of number was called outside, or empty."`
	Account   string `json:"account" doc:"Extension on whose account it went out, or empty."`
	Emergency bool   `json:"emergency"`
}

func routeOf(r telephony.CallRoute) CallRoute {
	return CallRoute{
		Dialled: r.Dialled, Sent: r.Sent, CallerID: r.CallerID, InTrunk: int64(r.InTrunk), DID: r.DID, OutTrunk: int64(r.OutTrunk),
		Class: string(r.Class), Account: r.Account, Emergency: r.Emergency,
	}
}

// routeColumns and routeFields are those of the CSV.
func routeColumns() []string {
	return []string{"ended_by", "dialled", "sent", "caller_id", "in_trunk", "did", "out_trunk", "class", "account", "emergency"}
}

func routeFields(r telephony.CallRecord) []string {
	t := r.Route
	trunk := func(id telephony.TrunkID) string {
		if id == 0 {
			return ""
		}
		return strconv.FormatInt(int64(id), 10)
	}
	return []string{string(r.EndedBy), t.Dialled, t.Sent, t.CallerID, trunk(t.InTrunk), t.DID, trunk(t.OutTrunk), string(t.Class), t.Account, strconv.FormatBool(t.Emergency)}
}
