package telephony

// MaxKeepDays is how long records may be kept at most: ten years.
const MaxKeepDays = 3650

// Keeping is how long a tenant keeps what was recorded of its people.
type Keeping struct {
	// CallDays is after how many days call records are removed; 0 keeps them
	// until there are too many.
	CallDays int
}

// Validate reports the first field that is not usable.
func (k Keeping) Validate() error {
	if k.CallDays < 0 || k.CallDays > MaxKeepDays {
		return refuse("call_days", "must be 0 (as long as there is room) or up to %d", MaxKeepDays)
	}
	return nil
}
