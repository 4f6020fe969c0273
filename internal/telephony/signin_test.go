package telephony

import "testing"

func TestPasswordPolicyIsValidated(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		change func(*PasswordPolicy)
		field  string
	}{
		"as shipped":               {func(*PasswordPolicy) {}, ""},
		"6 to 128":                 {func(p *PasswordPolicy) { p.Min, p.Max = 6, 128 }, ""},
		"one length":               {func(p *PasswordPolicy) { p.Min, p.Max = 12, 12 }, ""},
		"too short":                {func(p *PasswordPolicy) { p.Min = 5 }, "min"},
		"min above max":            {func(p *PasswordPolicy) { p.Min, p.Max = 20, 19 }, "max"},
		"too long":                 {func(p *PasswordPolicy) { p.Max = 129 }, "max"},
		"negative":                 {func(p *PasswordPolicy) { p.Min = -1 }, "min"},
		"no mode":                  {func(p *PasswordPolicy) { p.Mode = "" }, "mode"},
		"NIST":                     {func(p *PasswordPolicy) { *p = NISTPasswordPolicy() }, ""},
		"NIST, shorter":            {func(p *PasswordPolicy) { *p = NISTPasswordPolicy(); p.Min = 14 }, "min"},
		"NIST that cuts off":       {func(p *PasswordPolicy) { *p = NISTPasswordPolicy(); p.Max = 63 }, "max"},
		"NIST, as long as allowed": {func(p *PasswordPolicy) { *p = NISTPasswordPolicy(); p.Max = 64 }, ""},
	} {
		p := DefaultPasswordPolicy()
		x.change(&p)
		err := SignIn{Passwords: p, SecondFactor: SecondFactorOptional}.Validate()
		fe, _ := AsFieldError(err)
		if x.field == "" && err != nil || x.field != "" && (fe == nil || fe.Field != x.field) {
			t.Errorf("%s: %v, want %q", name, err, x.field)
		}
	}
}
