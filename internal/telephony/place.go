package telephony

import (
	"strings"
	"time"
	_ "time/tzdata" // the appliance has no zone files
)

// Bounds of what a tenant may have.
const maxOfTenant = 100_000

// checkPlace looks at where the tenant is and at its limits.
func (t Tenant) checkPlace() error {
	if t.TimeZone != "" {
		if err := CheckTimeZone("time_zone", t.TimeZone); err != nil {
			return err
		}
	}
	if t.Country != "" && (len(t.Country) != 2 || strings.Trim(t.Country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "") {
		return refuse("country", "must be the two capital letters of ISO 3166")
	}
	if t.MaxExtensions < 0 || t.MaxExtensions > maxOfTenant {
		return refuse("max_extensions", "must be 0 (no limit) or up to %d", maxOfTenant)
	}
	if t.MaxUsers < 0 || t.MaxUsers > maxOfTenant {
		return refuse("max_users", "must be 0 (no limit) or up to %d", maxOfTenant)
	}
	return nil
}

// CheckTimeZone accepts a name of the IANA time zone database.
func CheckTimeZone(field, name string) error {
	if _, err := time.LoadLocation(name); err != nil || name == "" || name == "Local" || len(name) > 64 {
		return refuse(field, "is no time zone of the IANA database, such as Europe/Berlin")
	}
	return nil
}
