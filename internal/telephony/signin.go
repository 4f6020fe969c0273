package telephony

// PasswordMode says by which rules passwords are judged.
type PasswordMode string

// The modes.
const (
	// PasswordRules asks for kinds of characters and refuses runs, as each field
	// of the policy says.
	PasswordRules PasswordMode = "rules"
	// PasswordNIST asks for length and nothing that makes people write it down:
	// no composition rules (NIST SP 800-63B section 3.1.1.2).
	PasswordNIST PasswordMode = "nist"
)

// PasswordPolicy is what a new password must be like. The list of common
// passwords applies in every mode. Passwords that exist are not judged anew.
type PasswordPolicy struct {
	Mode           PasswordMode
	Min, Max       int  // code points after NFC
	Letter         bool // at least one Latin letter
	Digit          bool // at least one digit 0-9
	UpperOrSpecial bool // at least one upper-case Latin letter or ASCII special character
	NoSequence     bool // no run of four letters or digits up or down, such as 7890
	NoRepeat       bool // no character three times in a row
	NoAccount      bool // nothing of the account's names and numbers
}

// Bounds of a password policy. SIP phones cut off what is longer than their
// input field, and argon2id wants an end.
const (
	MinPasswordRules = 6
	MinPasswordNIST  = 15 // where the password is the only factor
	MinLongestNIST   = 64 // a longest password below that is not allowed
	MaxPassword      = 128
)

// DefaultPasswordPolicy is the policy until somebody changes it.
func DefaultPasswordPolicy() PasswordPolicy {
	return PasswordPolicy{Mode: PasswordRules, Min: 8, Max: 32, Letter: true, Digit: true, UpperOrSpecial: true, NoSequence: true, NoRepeat: true, NoAccount: true}
}

// NISTPasswordPolicy is what NIST SP 800-63B asks for.
func NISTPasswordPolicy() PasswordPolicy {
	return PasswordPolicy{Mode: PasswordNIST, Min: MinPasswordNIST, Max: MaxPassword, NoAccount: true}
}

// Effective is the policy as it is applied: NIST mode has no rules on what a
// password is made of, whatever the fields say.
func (p PasswordPolicy) Effective() PasswordPolicy {
	if p.Mode == PasswordNIST {
		p.Letter, p.Digit, p.UpperOrSpecial, p.NoSequence, p.NoRepeat = false, false, false, false, false
	}
	return p
}

// Validate reports the first field that is not usable.
func (p PasswordPolicy) Validate() error {
	least, longest := MinPasswordRules, p.Min
	switch p.Mode {
	case PasswordRules:
	case PasswordNIST:
		least, longest = MinPasswordNIST, MinLongestNIST
	default:
		return refuse("mode", "is neither rules nor nist")
	}
	switch {
	case p.Min < least || p.Min > MaxPassword:
		return refuse("min", "must be between %d and %d", least, MaxPassword)
	case p.Max < max(p.Min, longest) || p.Max > MaxPassword:
		return refuse("max", "must be between %d and %d", max(p.Min, longest), MaxPassword)
	}
	return nil
}

// SignIn is how the people of one tenant, or the administrators of the box,
// prove who they are.
type SignIn struct {
	Passwords PasswordPolicy
	// SecondFactor says who has to sign in with a second factor; everybody may.
	SecondFactor SecondFactor
}

// SecondFactor says who has to sign in with a second factor.
type SecondFactor string

// Who has to.
const (
	SecondFactorOptional       SecondFactor = "optional"
	SecondFactorAdministrators SecondFactor = "administrators"
	SecondFactorEverybody      SecondFactor = "everybody"
)

// Requires reports whether somebody has to, who has administrative permissions
// or not.
func (f SecondFactor) Requires(administers bool) bool {
	return f == SecondFactorEverybody || f == SecondFactorAdministrators && administers
}

// DefaultSignIn is in force until somebody changes it.
func DefaultSignIn() SignIn {
	return SignIn{Passwords: DefaultPasswordPolicy(), SecondFactor: SecondFactorOptional}
}

// Validate reports the first field that is not usable.
func (s SignIn) Validate() error {
	switch s.SecondFactor {
	case SecondFactorOptional, SecondFactorAdministrators, SecondFactorEverybody:
		return s.Passwords.Validate()
	}
	return refuse("second_factor", "is none of optional, administrators, everybody")
}

// WithSignIn returns the snapshot with the sign-in rules of tenants; System
// stands for the box's administrators. It is called before anybody else sees
// the snapshot.
func (s *Snapshot) WithSignIn(rules map[TenantID]SignIn) *Snapshot {
	s.signIn = rules
	return s
}

// SignIn is how the people of a tenant sign in, or the box's administrators.
func (s *Snapshot) SignIn(tenant TenantID) SignIn {
	if v, ok := s.signIn[tenant]; ok {
		return v
	}
	return DefaultSignIn()
}

// SignInRules are those that were changed, by tenant. The caller must not
// change the map.
func (s *Snapshot) SignInRules() map[TenantID]SignIn { return s.signIn }
