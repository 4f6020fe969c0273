package telephony

import "testing"

func TestCallHandlingIsChecked(t *testing.T) {
	t.Parallel()
	for field, h := range map[string]CallHandling{
		"forward_always":       {ForwardAlways: "101"},
		"forward_busy":         {ForwardBusy: "12a"},
		"forward_no_answer":    {ForwardNoAnswer: "+"},
		"forward_unregistered": {ForwardUnregistered: "123456789012345678901234567890123"},
		"max_calls":            {MaxCalls: MaxCallLimit + 1},
		"ring_also":            {RingAlso: []string{"102", "102"}},
	} {
		if fe, ok := AsFieldError(h.check("101")); !ok || fe.Field != field {
			t.Errorf("%s: %v", field, fe)
		}
	}
	for _, h := range []CallHandling{
		{RingAlso: []string{"101"}}, {RingAlso: make([]string, 9)}, {MaxCalls: -1},
	} {
		if h.check("101") == nil {
			t.Errorf("accepted %+v", h)
		}
	}
	good := CallHandling{ForwardAlways: "+4930123", ForwardBusy: "*97", ForwardNoAnswer: "102", DoNotDisturb: true, MaxCalls: 2, RingAlso: []string{"102", "103"}}
	if err := good.check("101"); err != nil {
		t.Error(err)
	}
	other := good
	other.RingAlso = []string{"102"}
	if good.Equal(other) || !good.Equal(good) || good.Equal(CallHandling{}) {
		t.Error("Equal")
	}
}
