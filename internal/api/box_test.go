package api

import (
	"net/http"
	"slices"
	"testing"

	"ringfence/internal/telephony"
)

// C07: the cloud is known; what is wrong with the box is for its own
// administrators.
func TestStatusTellsCloudAndNotices(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var s Status
	boss.must(http.StatusOK, "GET", "/status", nil, &s)
	if s.Clock == nil || s.Clock.Server != "192.0.2.1" || s.Clock.Origin != "DHCP" {
		t.Errorf("clock %+v", s.Clock)
	}
	if s.Cloud != "AWS" || !slices.Equal(s.Notices, []string{"user-data was wrong"}) {
		t.Errorf("cloud %q, notices %q", s.Cloud, s.Notices)
	}
	var c caller
	c.session.User.Role = telephony.RoleAdmin
	if s := b.statusFor(c); s.Cloud != "AWS" || len(s.Notices) != 0 || s.Clock != nil {
		t.Errorf("an administrator of a tenant sees %+v", s)
	}
}
