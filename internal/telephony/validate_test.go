package telephony

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
)

// checkField wants err to name the field, or to be nil for "".
func checkField(t *testing.T, what string, err error, field string) {
	t.Helper()
	switch fe, ok := AsFieldError(err); {
	case field == "" && err != nil:
		t.Errorf("%s refused: %v", what, err)
	case field != "" && (!ok || fe.Field != field || fe.Reason == ""):
		t.Errorf("%s: got %v, want a refusal of %s", what, err, field)
	}
}

func TestDomains(t *testing.T) {
	t.Parallel()
	const ok, bad = "", "domain"
	for domain, want := range map[string]string{
		"pbx.example.com": ok, "pbx": ok, "pbx.local": ok, "a.b-c.d0": ok, "3com.example": ok, "xn--mller-kva.example": ok,
		"192.0.2.1": ok, "2001:db8::1": ok, strings.Repeat("a", 63) + ".b": ok, "a.1b": ok,
		"": bad, "PBX.example": bad, "a..b": bad, ".a": bad, "a.": bad, "-a.b": bad, "a-.b": bad, "a_b": bad, "a b": bad,
		"müller.example": bad, "a\r\nb": bad, "a;b": bad, "a@b": bad, "a:5060": bad, "[2001:db8::1]": bad, "sip:a": bad,
		"1.2.3": bad, "1.2.3.4.5": bad, "256.0.0.1": bad, "192.0.2.01": bad, "0.0.0.0": bad, "::": bad, "224.0.0.1": bad, "ff02::1": bad,
		"fe80::1%eth0": bad, "2001:DB8::1": bad, "2001:db8:0::1": bad,
		strings.Repeat("a", 64) + ".b": bad, strings.Repeat("a.", 130) + "b": bad, "a\x00": bad, "a.\xff": bad,
	} {
		checkField(t, domain, CheckDomain("domain", domain), want)
	}
}

func TestTenants(t *testing.T) {
	t.Parallel()
	good := Tenant{Name: "Müller & Söhne 株式会社", Domain: "pbx.example", ExtensionFirst: "100", ExtensionLast: "199"}
	checkField(t, "good tenant", good.Validate(), "")
	for what, x := range map[string]struct {
		change func(*Tenant)
		want   string
	}{
		"one extension":  {func(v *Tenant) { v.ExtensionLast = "100" }, ""},
		"leading zeros":  {func(v *Tenant) { v.ExtensionFirst, v.ExtensionLast = "000", "099" }, ""},
		"two digits":     {func(v *Tenant) { v.ExtensionFirst, v.ExtensionLast = "10", "99" }, ""},
		"nine digits":    {func(v *Tenant) { v.ExtensionFirst, v.ExtensionLast = "100000000", "199999999" }, ""},
		"no name":        {func(v *Tenant) { v.Name = "" }, "name"},
		"blank name":     {func(v *Tenant) { v.Name = " \u00a0 " }, "name"},
		"long name":      {func(v *Tenant) { v.Name = strings.Repeat("ü", MaxNameLen+1) }, "name"},
		"name at limit":  {func(v *Tenant) { v.Name = strings.Repeat("ü", MaxNameLen) }, ""},
		"line in name":   {func(v *Tenant) { v.Name = "a\r\nVia: x" }, "name"},
		"bidi in name":   {func(v *Tenant) { v.Name = "a\u202eb" }, "name"},
		"space at end":   {func(v *Tenant) { v.Name = "a " }, "name"},
		"broken name":    {func(v *Tenant) { v.Name = "a\xff" }, "name"},
		"domain":         {func(v *Tenant) { v.Domain = "a b" }, "domain"},
		"one digit":      {func(v *Tenant) { v.ExtensionFirst = "1" }, "extension_first"},
		"ten digits":     {func(v *Tenant) { v.ExtensionLast = "1000000000" }, "extension_last"},
		"letters":        {func(v *Tenant) { v.ExtensionFirst = "1x0" }, "extension_first"},
		"other digits":   {func(v *Tenant) { v.ExtensionFirst = "١٠٠" }, "extension_first"},
		"empty first":    {func(v *Tenant) { v.ExtensionFirst = "" }, "extension_first"},
		"backwards":      {func(v *Tenant) { v.ExtensionLast = "099" }, "extension_last"},
		"other length":   {func(v *Tenant) { v.ExtensionLast = "1999" }, "extension_last"},
		"sign in number": {func(v *Tenant) { v.ExtensionFirst = "+10" }, "extension_first"},
	} {
		v := good
		x.change(&v)
		checkField(t, what, v.Validate(), x.want)
	}
}

func TestExtensions(t *testing.T) {
	t.Parallel()
	tenant := Tenant{Name: "x", Domain: "x.example", ExtensionFirst: "100", ExtensionLast: "199"}
	good := Extension{Number: "101", DisplayName: "Anna Lee", NoAnswer: 30 * time.Second}
	checkField(t, "good extension", good.Validate(tenant), "")
	for what, x := range map[string]struct {
		change func(*Extension)
		want   string
	}{
		"first":        {func(v *Extension) { v.Number = "100" }, ""},
		"last":         {func(v *Extension) { v.Number = "199" }, ""},
		"no name":      {func(v *Extension) { v.DisplayName = "" }, ""},
		"below":        {func(v *Extension) { v.Number = "099" }, "number"},
		"above":        {func(v *Extension) { v.Number = "200" }, "number"},
		"longer":       {func(v *Extension) { v.Number = "1010" }, "number"},
		"shorter":      {func(v *Extension) { v.Number = "10" }, "number"},
		"empty":        {func(v *Extension) { v.Number = "" }, "number"},
		"star":         {func(v *Extension) { v.Number = "*97" }, "number"},
		"tab in name":  {func(v *Extension) { v.DisplayName = "a\tb" }, "display_name"},
		"long name":    {func(v *Extension) { v.DisplayName = strings.Repeat("x", 101) }, "display_name"},
		"rings short":  {func(v *Extension) { v.NoAnswer = 4 * time.Second }, "no_answer"},
		"rings long":   {func(v *Extension) { v.NoAnswer = 181 * time.Second }, "no_answer"},
		"rings 5 s":    {func(v *Extension) { v.NoAnswer = 5 * time.Second }, ""},
		"rings 180 s":  {func(v *Extension) { v.NoAnswer = 180 * time.Second }, ""},
		"quotes <sip>": {func(v *Extension) { v.DisplayName = `"Anna" <sip:x@y>` }, ""}, // text; who prints it must quote it
	} {
		v := good
		x.change(&v)
		checkField(t, what, v.Validate(tenant), x.want)
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	good := User{Tenant: 1, Name: "anna.lee", FirstName: "Anna", LastName: "Lee", Email: "anna.lee@example.org", Phone: "+49 (170) 555-0199", Role: RoleStandard, Extension: "101"}
	checkField(t, "good user", good.Validate(), "")
	for what, x := range map[string]struct {
		change func(*User)
		want   string
	}{
		"bare":              {func(v *User) { *v = User{Tenant: 1, Name: "x", Role: RoleAdmin} }, ""},
		"box administrator": {func(v *User) { *v = User{Name: "admin", Role: RoleSystemAdmin} }, ""},
		"address as name":   {func(v *User) { v.Name = "anna@example.org" }, ""},
		"upper case":        {func(v *User) { v.Name = "Anna" }, "name"},
		"no name":           {func(v *User) { v.Name = "" }, "name"},
		"space":             {func(v *User) { v.Name = "anna lee" }, "name"},
		"umlaut":            {func(v *User) { v.Name = "müller" }, "name"},
		"long":              {func(v *User) { v.Name = strings.Repeat("x", 65) }, "name"},
		"first name":        {func(v *User) { v.FirstName = "a\x00" }, "first_name"},
		"last name":         {func(v *User) { v.LastName = "a\u200b" }, "last_name"},
		"mail without @":    {func(v *User) { v.Email = "x.example" }, "email"},
		"mail without name": {func(v *User) { v.Email = "@x.example" }, "email"},
		"mail header":       {func(v *User) { v.Email = "a\r\nBcc:b@x.example" }, "email"},
		"mail list":         {func(v *User) { v.Email = "a@x.example,b@x.example" }, "email"},
		"mail domain":       {func(v *User) { v.Email = "a@x..example" }, "email"},
		"long mail":         {func(v *User) { v.Email = strings.Repeat("x", 65) + "@x.example" }, "email"},
		"phone letters":     {func(v *User) { v.Phone = "0800-CALL" }, "phone"},
		"long phone":        {func(v *User) { v.Phone = strings.Repeat("1", 33) }, "phone"},
		"no role":           {func(v *User) { v.Role = "" }, "role"},
		"strange role":      {func(v *User) { v.Role = "Root 1" }, "role"},
		"mighty tenant":     {func(v *User) { v.Role = RoleSystemAdmin }, "role"},
		"box, tenant role":  {func(v *User) { v.Tenant, v.Extension = System, "" }, "role"},
		"box, extension":    {func(v *User) { v.Tenant, v.Role = System, RoleSystemAdmin }, "extension"},
		"extension":         {func(v *User) { v.Extension = "x" }, "extension"},
	} {
		v := good
		x.change(&v)
		checkField(t, what, v.Validate(), x.want)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	checkField(t, "defaults", DefaultSettings().Validate(), "")
	off := false
	for what, x := range map[string]struct {
		change func(*Settings)
		want   string
	}{
		"public address":    {func(v *Settings) { v.PublicAddress = netip.MustParseAddr("203.0.113.5"); v.AdvertiseAlways = true }, ""},
		"nothing to tell":   {func(v *Settings) { v.AdvertiseAlways = true }, "public_address"},
		"unspecified":       {func(v *Settings) { v.PublicAddress = netip.IPv6Unspecified() }, "public_address"},
		"multicast":         {func(v *Settings) { v.PublicAddress = netip.MustParseAddr("224.0.0.1") }, "public_address"},
		"mapped":            {func(v *Settings) { v.PublicAddress = netip.MustParseAddr("::ffff:203.0.113.5") }, "public_address"},
		"zone":              {func(v *Settings) { v.PublicAddress = netip.MustParseAddr("fe80::1%eth0") }, "public_address"},
		"loopback":          {func(v *Settings) { v.PublicAddress = netip.MustParseAddr("127.0.0.1") }, ""},
		"per address":       {func(v *Settings) { v.PublicAddresses = pairs("10.0.0.5 203.0.113.5", "fd00::5 2001:db8::5") }, ""},
		"local twice":       {func(v *Settings) { v.PublicAddresses = pairs("10.0.0.5 203.0.113.5", "10.0.0.5 203.0.113.6") }, "public_addresses[1].local"},
		"another family":    {func(v *Settings) { v.PublicAddresses = pairs("10.0.0.5 2001:db8::5") }, "public_addresses[0].public"},
		"no local":          {func(v *Settings) { v.PublicAddresses = make([]PublicAddress, 1) }, "public_addresses[0].local"},
		"many addresses":    {func(v *Settings) { v.PublicAddresses = make([]PublicAddress, 17) }, "public_addresses"},
		"nobody inside":     {func(v *Settings) { v.InsideNetworks = nil }, ""},
		"own inside":        {func(v *Settings) { v.InsideNetworks = networks("198.51.100.0/24", "2001:db8:1::/48") }, ""},
		"host bits":         {func(v *Settings) { v.InsideNetworks = networks("10.0.0.1/8") }, "inside_networks"},
		"everybody inside":  {func(v *Settings) { v.InsideNetworks = networks("0.0.0.0/0") }, "inside_networks"},
		"inside twice":      {func(v *Settings) { v.InsideNetworks = networks("10.0.0.0/8", "10.0.0.0/8") }, "inside_networks"},
		"mapped inside":     {func(v *Settings) { v.InsideNetworks = networks("::ffff:10.0.0.0/104") }, "inside_networks"},
		"many inside":       {func(v *Settings) { v.InsideNetworks = make([]netip.Prefix, 65) }, "inside_networks"},
		"listener digest":   {func(v *Settings) { v.ListenerDigests = map[ports.ID]Digest{ports.SIPTLS: DigestSHA256} }, ""},
		"digest of RTP":     {func(v *Settings) { v.ListenerDigests = map[ports.ID]Digest{ports.RTPCore: DigestMD5} }, "listener_digests"},
		"unknown digest":    {func(v *Settings) { v.ListenerDigests = map[ports.ID]Digest{ports.SIPUDP: "sha512"} }, "listener_digests"},
		"ports":             {func(v *Settings) { v.Ports = []ports.Override{{ID: ports.Portal, Enabled: &off}} }, "ports"},
		"unknown service":   {func(v *Settings) { v.Ports = []ports.Override{{ID: "x"}} }, "ports"},
		"idle short":        {func(v *Settings) { v.SessionIdle = 59 * time.Second }, "session_idle"},
		"idle long":         {func(v *Settings) { v.SessionIdle = 25 * time.Hour }, "session_idle"},
		"max below idle":    {func(v *Settings) { v.SessionMax = 20 * time.Minute }, "session_max"},
		"max long":          {func(v *Settings) { v.SessionMax = 31 * 24 * time.Hour }, "session_max"},
		"no failures":       {func(v *Settings) { v.LoginFailures = 0 }, "login_failures"},
		"endless failures":  {func(v *Settings) { v.LoginFailures = 101 }, "login_failures"},
		"block of a second": {func(v *Settings) { v.LoginBlock = time.Second }, "login_block"},
		"block for ever":    {func(v *Settings) { v.LoginBlock = 1 << 62 }, "login_block"},
	} {
		v := DefaultSettings()
		x.change(&v)
		checkField(t, what, v.Validate(), x.want)
	}
}

// pairs reads public addresses written as "local public".
func pairs(list ...string) (all []PublicAddress) {
	for _, s := range list {
		local, public, _ := strings.Cut(s, " ")
		all = append(all, PublicAddress{netip.MustParseAddr(local), netip.MustParseAddr(public)})
	}
	return all
}

func networks(list ...string) (all []netip.Prefix) {
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func FuzzValidate(f *testing.F) {
	f.Add("Example", "pbx.example", "100", "199", "101", "anna.lee", "a@x.example", "+49 170")
	f.Add("a\r\n", "2001:db8::1", "00", "99", "*", "A", "@", "x")
	f.Add("\u202e", "1.2.3.4.5", "", "1", "१", "a@b", "a\x00@b.c", "++")
	f.Fuzz(func(t *testing.T, name, domain, first, last, number, user, mail, phone string) {
		tenant := Tenant{Name: name, Domain: domain, ExtensionFirst: first, ExtensionLast: last}
		hostile := func(what, s string) {
			if strings.ContainsAny(s, "\r\n\x00\u2028\u202e\u200b") {
				t.Fatalf("%s %q was accepted", what, s)
			}
		}
		if tenant.Validate() == nil {
			hostile("name", name)
			if len(first) != len(last) || first > last || strings.ContainsAny(domain, "@;<>\" \r\n\x00/?") || domain != strings.ToLower(domain) {
				t.Fatalf("%+v was accepted", tenant)
			}
			e := Extension{Number: number, DisplayName: name, NoAnswer: DefaultNoAnswer}
			if e.Validate(tenant) == nil && (number < first || number > last || len(number) != len(first)) {
				t.Fatalf("%s is outside %s-%s", number, first, last)
			}
		}
		u := User{Tenant: 1, Name: user, FirstName: name, Email: mail, Phone: phone, Role: RoleAdmin}
		if u.Validate() == nil {
			for what, s := range map[string]string{"user": user, "first name": name, "mail": mail, "phone": phone} {
				hostile(what, s)
			}
			if strings.ContainsAny(mail, " ,;<>\"") || user != strings.ToLower(user) {
				t.Fatalf("%+v was accepted", u)
			}
		}
	})
}
