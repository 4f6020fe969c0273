package dialplan

import (
	"testing"

	"ringfence/internal/telephony"
)

func TestExtensionsReachEachOther(t *testing.T) {
	t.Parallel()
	snap := telephony.NewSnapshot(1, telephony.DefaultSettings(), nil, []telephony.Extension{{Tenant: 1, Number: "101"}, {Tenant: 2, Number: "102"}})
	if p := Resolve(snap, Request{Tenant: 1, Dialled: "101"}); p.Outcome != ToExtension || p.Extension != "101" || p.Class != telephony.ClassInternal {
		t.Errorf("%+v", p)
	}
	if p := Resolve(snap, Request{Tenant: 1, Dialled: "102"}); p.Outcome != Refused || p.Refusal.Code != 404 {
		t.Errorf("another tenant's extension: %+v", p)
	}
}
