package telephony

import "slices"

// CallClass is what sort of number a call goes to, as the numbering plan of its
// caller's tenant sees it. Roles are granted classes.
type CallClass string

// The classes. Emergency numbers need no permission: every role reaches them.
const (
	ClassInternal      CallClass = "internal"      // an extension or service of the tenant
	ClassEmergency     CallClass = "emergency"     // of the tenant's list
	ClassLocal         CallClass = "local"         // the area code of the tenant, or no area code
	ClassNational      CallClass = "national"      // elsewhere in the tenant's country
	ClassMobile        CallClass = "mobile"        // a mobile number of the tenant's country
	ClassInternational CallClass = "international" // another country
	ClassPremium       CallClass = "premium"       // premium, shared cost and satellite ranges, in any country
)

// CallClasses are those that a role may be granted.
func CallClasses() []CallClass {
	return []CallClass{ClassInternal, ClassLocal, ClassNational, ClassMobile, ClassInternational, ClassPremium}
}

// Known reports whether a class is one that a role may be granted.
func (c CallClass) Known() bool { return slices.Contains(CallClasses(), c) }
