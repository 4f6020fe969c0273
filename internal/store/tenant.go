package store

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"ringfence/internal/telephony"
)

const tenantColumns = `id, name, domain, extension_first, extension_last,
	digest, tls_only, max_contacts, qualify_interval, qualify_failures,
	media_security, session_timers, session_expires, session_min, dead_media, tones, music_on_hold,
	time_zone, country, max_extensions, max_users`

func scanTenant(scan func(...any) error) (t telephony.Tenant, err error) {
	var qualify, expires, least, dead int64
	c := &t.Calls
	err = scan(&t.ID, &t.Name, &t.Domain, &t.ExtensionFirst, &t.ExtensionLast,
		&t.Digest, &t.TLSOnly, &t.MaxContacts, &qualify, &t.QualifyFailures,
		&c.Media, &c.Session, &expires, &least, &dead, &c.Tones, &c.Music,
		&t.TimeZone, &t.Country, &t.MaxExtensions, &t.MaxUsers)
	t.QualifyInterval = time.Duration(qualify) * time.Millisecond
	c.SessionExpires, c.MinSE = time.Duration(expires)*time.Millisecond, time.Duration(least)*time.Millisecond
	c.DeadMedia = time.Duration(dead) * time.Millisecond
	return t, err
}

func tenantValues(t telephony.Tenant) []any {
	c := t.Calls
	return []any{t.ID, t.Name, t.Domain, t.ExtensionFirst, t.ExtensionLast,
		string(t.Digest), t.TLSOnly, t.MaxContacts, t.QualifyInterval.Milliseconds(), t.QualifyFailures,
		string(c.Media), string(c.Session), c.SessionExpires.Milliseconds(), c.MinSE.Milliseconds(), c.DeadMedia.Milliseconds(), c.Tones, string(c.Music),
		t.TimeZone, t.Country, t.MaxExtensions, t.MaxUsers}
}

func readTenants(ctx context.Context, q queryer) ([]telephony.Tenant, error) {
	out, err := collect(ctx, q, scanTenant, `SELECT `+tenantColumns+` FROM tenant WHERE id <> 0 ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("reading tenants: %w", err)
	}
	return out, nil
}

// tenantValue is what the history keeps of a tenant.
type tenantValue struct {
	Name           string `json:"name"`
	Domain         string `json:"domain"`
	ExtensionFirst string `json:"extension_first"`
	ExtensionLast  string `json:"extension_last"`
	Digest         string `json:"digest"`
	TLSOnly        bool   `json:"tls_only"`
	MaxContacts    int    `json:"max_contacts"`
	QualifyMs      int64  `json:"qualify_interval"`
	QualifyFailed  int    `json:"qualify_failures"`
	Media          string `json:"media_security"`
	Session        string `json:"session_timers"`
	ExpiresMs      int64  `json:"session_expires"`
	LeastMs        int64  `json:"session_min"`
	DeadMediaMs    int64  `json:"dead_media"`
	Tones          string `json:"tones"`
	Music          string `json:"music_on_hold"`
	TimeZone       string `json:"time_zone"`
	Country        string `json:"country"`
	MaxExtensions  int    `json:"max_extensions"`
	MaxUsers       int    `json:"max_users"`
}

func valueOfTenant(t telephony.Tenant) tenantValue {
	c := t.Calls
	return tenantValue{t.Name, t.Domain, t.ExtensionFirst, t.ExtensionLast,
		string(t.Digest), t.TLSOnly, t.MaxContacts, t.QualifyInterval.Milliseconds(), t.QualifyFailures,
		string(c.Media), string(c.Session), c.SessionExpires.Milliseconds(), c.MinSE.Milliseconds(), c.DeadMedia.Milliseconds(), c.Tones, string(c.Music),
		t.TimeZone, t.Country, t.MaxExtensions, t.MaxUsers}
}

// Tenant is the scope's own tenant as this transaction sees it.
func (tx *Tx) Tenant() (telephony.Tenant, error) { return tx.tenant(tx.scope) }

func (tx *Tx) tenant(id telephony.TenantID) (telephony.Tenant, error) {
	t, err := scanTenant(tx.row(`SELECT `+tenantColumns+` FROM tenant WHERE id = ? AND id <> 0`, id).Scan)
	if err != nil {
		return t, fmt.Errorf("reading tenant %d: %w", id, notFound(err))
	}
	return t, nil
}

// CreateTenant adds a tenant and allots its ID. Only the box's scope may.
func (tx *Tx) CreateTenant(t telephony.Tenant) (telephony.TenantID, error) {
	if err := tx.systemOnly(); err != nil {
		return 0, err
	}
	t.Registration, t.Calls, t.TimeZone = t.Registration.Complete(), t.Calls.Complete(), cmp.Or(t.TimeZone, "UTC")
	if err := t.Validate(); err != nil {
		return 0, err
	}
	if err := tx.checkDomainFree(t.Domain, 0); err != nil {
		return 0, err
	}
	if err := tx.row(`UPDATE meta SET next_tenant = next_tenant + 1 RETURNING next_tenant - 1`).Scan(&t.ID); err != nil {
		return 0, fmt.Errorf("allotting a tenant id: %w", err)
	}
	_, err := tx.exec(`INSERT INTO tenant (`+tenantColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, tenantValues(t)...)
	if err != nil {
		return 0, fmt.Errorf("creating tenant: %w", err)
	}
	tx.touchTenant(t.ID)
	tx.note(KindTenant, "create", strconv.FormatInt(int64(t.ID), 10), valueOfTenant(t))
	return t.ID, nil
}

// checkDomainFree keeps every SIP domain with one tenant. It looks before the
// insert, because a failed statement would end the transaction.
func (tx *Tx) checkDomainFree(domain string, own telephony.TenantID) error {
	var n int
	if err := tx.row(`SELECT count(*) FROM tenant WHERE domain = ? AND id <> ?`, domain, own).Scan(&n); err != nil {
		return fmt.Errorf("looking for the SIP domain: %w", err)
	}
	if n > 0 {
		return taken("domain", "is used by another tenant")
	}
	return nil
}

// PutTenant changes a tenant. A new domain is a new digest realm: the HA1 of
// every extension is computed anew from its encrypted password, and phones
// must be configured anew.
func (tx *Tx) PutTenant(t telephony.Tenant) error {
	if tx.scope != telephony.System {
		if err := tx.own(&t.ID); err != nil {
			return err
		}
	}
	old, err := tx.tenant(t.ID)
	if err != nil {
		return err
	}
	t.Registration, t.Calls, t.TimeZone = t.Registration.Complete(), t.Calls.Complete(), cmp.Or(t.TimeZone, "UTC")
	if err := t.Validate(); err != nil {
		return err
	}
	if t == old {
		return nil
	}
	if err := tx.checkDomainFree(t.Domain, t.ID); err != nil {
		return err
	}
	if err := tx.checkExtensionsFit(t); err != nil {
		return err
	}
	_, err = tx.exec(`UPDATE tenant SET name = ?2, domain = ?3, extension_first = ?4, extension_last = ?5,
		digest = ?6, tls_only = ?7, max_contacts = ?8, qualify_interval = ?9, qualify_failures = ?10,
		media_security = ?11, session_timers = ?12, session_expires = ?13, session_min = ?14, dead_media = ?15, tones = ?16, music_on_hold = ?17,
		time_zone = ?18, country = ?19, max_extensions = ?20, max_users = ?21 WHERE id = ?1`, tenantValues(t)...)
	if err != nil {
		return fmt.Errorf("storing tenant %d: %w", t.ID, err)
	}
	if t.Domain != old.Domain {
		if err := tx.changeRealm(t); err != nil {
			return err
		}
	}
	tx.touchTenant(t.ID)
	tx.note(KindTenant, "put", strconv.FormatInt(int64(t.ID), 10), valueOfTenant(t))
	return nil
}

// checkExtensionsFit refuses a range that leaves extensions outside.
func (tx *Tx) checkExtensionsFit(t telephony.Tenant) error {
	var n int
	err := tx.row(`SELECT count(*) FROM extension WHERE tenant_id = ?
		AND (length(number) <> ? OR number < ? OR number > ?)`,
		t.ID, len(t.ExtensionFirst), t.ExtensionFirst, t.ExtensionLast).Scan(&n)
	if err != nil {
		return fmt.Errorf("looking at the extensions of tenant %d: %w", t.ID, err)
	}
	if n > 0 {
		return &telephony.FieldError{Field: "extension_first", Reason: fmt.Sprintf("the range leaves %d existing extensions outside", n)}
	}
	return nil
}

// DeleteTenant removes a tenant with everything that is its own. The last one
// stays: administrators of the box work in one.
func (tx *Tx) DeleteTenant(id telephony.TenantID) error {
	if err := tx.systemOnly(); err != nil {
		return err
	}
	if _, err := tx.tenant(id); err != nil {
		return err
	}
	var others int
	if err := tx.row(`SELECT count(*) FROM tenant WHERE id NOT IN (0, ?)`, id).Scan(&others); err != nil {
		return fmt.Errorf("counting tenants: %w", err)
	}
	if others == 0 {
		return taken("id", "is the last organisation, which stays")
	}
	// Users point to extensions, so they go first.
	for _, query := range []string{`DELETE FROM user WHERE tenant_id = ?`, `DELETE FROM tenant WHERE id = ?`} {
		if _, err := tx.exec(query, id); err != nil {
			return fmt.Errorf("deleting tenant %d: %w", id, err)
		}
	}
	tx.touched.signIn = true
	tx.touchTenant(id)
	for _, kind := range []Kind{KindExtension, KindUser, KindRole, KindGroup} {
		tx.touch(kind, id)
	}
	tx.touched.roles = true
	tx.note(KindTenant, "delete", strconv.FormatInt(int64(id), 10), nil)
	return nil
}

// checkRoom refuses one more row of a table where the tenant has a limit.
func (tx *Tx) checkRoom(table, field string, limit int) error {
	if limit == 0 {
		return nil
	}
	var n int
	if err := tx.row(`SELECT count(*) FROM `+table+` WHERE tenant_id = ?`, tx.scope).Scan(&n); err != nil {
		return fmt.Errorf("counting the rows of %s: %w", table, err)
	}
	if n >= limit {
		return &telephony.FieldError{Field: field, Reason: fmt.Sprintf("the organisation may have %d of them and has", limit)}
	}
	return nil
}
