package api

import "time"

// Certificate is one that TLS listeners show.
type Certificate struct {
	ID          string    `json:"id" doc:"standard is the one of the data folder, acme the one an authority gave; others are the beginning of the fingerprint."`
	Source      string    `json:"source" enum:"made_here,file,uploaded,acme" doc:"made_here: self-signed at first boot, renewed by itself; file: put into the data folder by hand."`
	Title       string    `json:"title" doc:"Its common name, or its first other name."`
	Names       []string  `json:"names" nullable:"false" doc:"Host names and addresses that it is for."`
	Issuer      string    `json:"issuer"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	DaysLeft    int       `json:"days_left" doc:"Negative once it has expired."`
	Fingerprint string    `json:"fingerprint" doc:"SHA-256 of the certificate: hexadecimal, lower case."`
	Key         string    `json:"key" doc:"Kind of its key, such as ECDSA P-256."`
	Chain       int       `json:"chain" doc:"Certificates that are sent, itself included."`
	Trusted     bool      `json:"trusted" doc:"It leads to an authority that this system trusts, as most devices do."`
	InForce     bool      `json:"in_force" doc:"It is shown to who asks for no name, or for a name that none is for."`
	UsedFor     []string  `json:"used_for" nullable:"false" doc:"Names in use here - SIP domains and names of the portal - whose askers are shown it."`
	Warnings    []string  `json:"warnings" nullable:"false"`
}

// CertificateList is every certificate.
type CertificateList struct {
	Items     []Certificate `json:"items" nullable:"false"`
	Uncovered []string      `json:"uncovered" nullable:"false" doc:"Names in use that no certificate is for: clients that check refuse them."`
	Faults    []string      `json:"faults" nullable:"false" doc:"Files that cannot be used and were left out."`
}

// CertificateUpload is a certificate with its chain and key: as PEM in any order,
// or as a PKCS #12 file.
type CertificateUpload struct {
	Certificate string `json:"certificate,omitempty" maxLength:"65536" doc:"PEM; the key may be among it."`
	Key         string `json:"key,omitempty" maxLength:"65536" doc:"PEM, not encrypted."`
	PKCS12      []byte `json:"pkcs12,omitempty" maxLength:"90000" doc:"A .p12 or .pfx file instead, as base64."`
	Password    string `json:"password,omitempty" maxLength:"256" doc:"Of that file."`
	Use         bool   `json:"use,omitempty" doc:"Put it in force at once."`
}

// CertificateChoice names a certificate.
type CertificateChoice struct {
	ID string `json:"id" minLength:"1" maxLength:"32"`
}

// ACMEUpdate says how a certificate is asked for and renewed.
type ACMEUpdate struct {
	Enabled     bool     `json:"enabled"`
	Directory   string   `json:"directory" maxLength:"500" doc:"URL of the authority's directory; empty is Let's Encrypt."`
	Roots       string   `json:"roots" maxLength:"65536" doc:"Certificates, as PEM, that the authority's own HTTPS may be signed with besides those everybody trusts: for an authority of your own."`
	Email       string   `json:"email" maxLength:"254" doc:"Where the authority writes to; may be empty."`
	Names       []string `json:"names" nullable:"false" maxItems:"32" doc:"Host names of the certificate."`
	TermsAgreed bool     `json:"terms_agreed" doc:"You agree to the authority's terms of service."`
}

// ACME is how a certificate is asked for and renewed, and how that goes.
type ACME struct {
	ACMEUpdate
	DefaultDirectory string       `json:"default_directory"`
	StagingDirectory string       `json:"staging_directory" doc:"To try things with: its certificates are trusted by nobody, its limits are wide."`
	State            string       `json:"state" enum:"off,waiting,asking,failed"`
	Error            string       `json:"error" doc:"Of the last attempt."`
	Failures         int          `json:"failures" doc:"Attempts in a row that failed."`
	TriedAt          *time.Time   `json:"tried_at"`
	NextAt           *time.Time   `json:"next_at" doc:"When the authority is asked next."`
	Reports          []NameReport `json:"name_reports" nullable:"false" doc:"What became of the names at the last attempt."`
}

// NameReport is what became of looking a name up.
type NameReport struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses" nullable:"false"`
	Problem   string   `json:"problem" doc:"Keeps the authority from reaching this machine."`
	Doubt     string   `json:"doubt" doc:"May keep it."`
}

// NameCheck asks for names to be looked up.
type NameCheck struct {
	Names []string `json:"names" nullable:"false" minItems:"1" maxItems:"32"`
}

// NameReportList is a report of each name.
type NameReportList struct {
	Items []NameReport `json:"items" nullable:"false"`
}
