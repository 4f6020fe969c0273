package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"ringfence/internal/telephony"
)

// extensionColumns are those of a new row.
const extensionColumns = `tenant_id, id, number, display_name, ha1, ha1_sha256, no_answer, provision_path,
	forward_always, forward_busy, forward_no_answer, forward_unregistered, do_not_disturb, max_calls, ring_also, media_security, dtmf, role,
	emergency_location, emergency_callback`

// extensionQuery reads extensions with what they may dial and their groups.
const extensionQuery = `SELECT e.tenant_id, e.id, e.number, e.display_name, e.ha1, e.ha1_sha256, e.no_answer, e.provision_path,
	e.forward_always, e.forward_busy, e.forward_no_answer, e.forward_unregistered, e.do_not_disturb, e.max_calls, e.ring_also, e.media_security, e.dtmf,
	e.emergency_location, e.emergency_callback,
	e.role, coalesce(u.role, e.role), coalesce((SELECT group_concat(g.name, char(10))
		FROM extension_group_member m JOIN extension_group g ON g.tenant_id = m.tenant_id AND g.id = m.group_id
		WHERE m.tenant_id = e.tenant_id AND m.extension_id = e.id), '')
	FROM extension e LEFT JOIN user u ON u.tenant_id = e.tenant_id AND u.extension_id = e.id`

func scanExtension(scan func(...any) error) (e telephony.Extension, err error) {
	var noAnswer int64
	var ringAlso, groups string
	h := &e.Handling
	err = scan(&e.Tenant, &e.ID, &e.Number, &e.DisplayName, &e.HA1, &e.HA1SHA256, &noAnswer, &e.ProvisionPath,
		&h.ForwardAlways, &h.ForwardBusy, &h.ForwardNoAnswer, &h.ForwardUnregistered, &h.DoNotDisturb, &h.MaxCalls, &ringAlso, &e.Media, &e.DTMF,
		&e.EmergencyLocation, &e.EmergencyCallback,
		&e.OwnRole, &e.Role, &groups)
	e.NoAnswer = time.Duration(noAnswer) * time.Millisecond
	h.RingAlso = split(ringAlso)
	if groups != "" {
		e.Groups = strings.Split(groups, "\n")
		slices.Sort(e.Groups)
	}
	return e, err
}

func readExtensions(ctx context.Context, q queryer) ([]telephony.Extension, error) {
	out, err := collect(ctx, q, scanExtension, extensionQuery+` ORDER BY e.tenant_id, e.id`)
	if err != nil {
		return nil, fmt.Errorf("reading extensions: %w", err)
	}
	return out, nil
}

func readExtension(ctx context.Context, q queryer, key extensionID) (telephony.Extension, error) {
	e, err := scanExtension(q.QueryRowContext(ctx, extensionQuery+` WHERE e.tenant_id = ? AND e.id = ?`, key.tenant, key.id).Scan)
	return e, notFound(err)
}

// extensionValue is what the history keeps of an extension: never a secret,
// and the HA1 and the provisioning path are such.
type extensionValue struct {
	DisplayName         string `json:"display_name"`
	NoAnswer            int64  `json:"no_answer_ms"`
	ForwardAlways       string `json:"forward_always,omitempty"`
	ForwardBusy         string `json:"forward_busy,omitempty"`
	ForwardNoAnswer     string `json:"forward_no_answer,omitempty"`
	ForwardUnregistered string `json:"forward_unregistered,omitempty"`
	DoNotDisturb        bool   `json:"do_not_disturb,omitempty"`
	MaxCalls            int    `json:"max_calls,omitempty"`
	RingAlso            string `json:"ring_also,omitempty"`
	Media               string `json:"media_security,omitempty"`
	DTMF                string `json:"dtmf,omitempty"`
	Role                string `json:"role,omitempty"`
	EmergencyLocation   string `json:"emergency_location,omitempty"`
	EmergencyCallback   string `json:"emergency_callback,omitempty"`
}

func valueOfExtension(e telephony.Extension) extensionValue {
	h := e.Handling
	return extensionValue{
		e.DisplayName, e.NoAnswer.Milliseconds(), h.ForwardAlways, h.ForwardBusy, h.ForwardNoAnswer, h.ForwardUnregistered,
		h.DoNotDisturb, h.MaxCalls, strings.Join(h.RingAlso, ","), string(e.Media), string(e.DTMF), string(e.OwnRole),
		e.EmergencyLocation, e.EmergencyCallback,
	}
}

// split takes a list of numbers apart that was joined with commas.
func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// MinSIPPassword is the fewest characters a SIP password may have. Generated
// ones have 20 or more; nobody has to remember them.
const MinSIPPassword = 12

// checkSIPPassword bounds what goes into digests and phone configurations.
func checkSIPPassword(password string) error {
	refuse := func(reason string) error {
		return &telephony.FieldError{Field: "sip_password", Reason: reason}
	}
	if len(password) < MinSIPPassword {
		return refuse(fmt.Sprintf("must have at least %d characters", MinSIPPassword))
	}
	if len(password) > 64 {
		return refuse("is longer than 64 characters")
	}
	for _, c := range []byte(password) {
		if c < '!' || c > '~' {
			return refuse("may only hold printable ASCII characters without spaces")
		}
	}
	return nil
}

// Extension reads one extension of the scope as this transaction sees it.
func (tx *Tx) Extension(number string) (telephony.Extension, error) {
	e, err := scanExtension(tx.row(extensionQuery+` WHERE e.tenant_id = ? AND e.number = ?`, tx.scope, number).Scan)
	if err != nil {
		return e, fmt.Errorf("reading extension: %w", notFound(err))
	}
	return e, nil
}

// CreateExtension adds an extension with its SIP password, of which it keeps
// the HA1 and an encrypted copy, and allots ID and ProvisionPath. A zero
// NoAnswer becomes the default, an empty Media the tenant's, an empty DTMF auto.
func (tx *Tx) CreateExtension(e telephony.Extension, sipPassword string) (telephony.Extension, error) {
	if err := tx.tenantOnly(); err != nil {
		return e, err
	}
	if err := tx.own(&e.Tenant); err != nil {
		return e, err
	}
	t, err := tx.Tenant()
	if err != nil {
		return e, err
	}
	if e.NoAnswer == 0 {
		e.NoAnswer = telephony.DefaultNoAnswer
	}
	if e.Media == "" {
		e.Media = t.Calls.Media
	}
	if e.DTMF == "" {
		e.DTMF = telephony.DTMFAuto
	}
	e.OwnRole = cmp.Or(e.OwnRole, telephony.RoleStandard)
	e.Role, e.Groups = e.OwnRole, nil
	if err := e.Validate(t); err != nil {
		return e, err
	}
	if err := tx.checkRole("role", e.OwnRole); err != nil {
		return e, err
	}
	if err := checkSIPPassword(sipPassword); err != nil {
		return e, err
	}
	if err := tx.checkRoom("extension", "number", t.MaxExtensions); err != nil {
		return e, err
	}
	var n int
	if err := tx.row(`SELECT count(*) FROM extension WHERE tenant_id = ? AND number = ?`, e.Tenant, e.Number).Scan(&n); err != nil {
		return e, fmt.Errorf("creating extension %s: %w", e.Number, err)
	}
	if n > 0 {
		return e, taken("number", "is used by another extension")
	}
	if e.ID, err = tx.nextID(); err != nil {
		return e, err
	}
	e.HA1, e.HA1SHA256 = ha1(e.Number, t.Domain, sipPassword)
	e.ProvisionPath = newProvisionPath()
	h := e.Handling
	_, err = tx.exec(`INSERT INTO extension (`+extensionColumns+`, sip_password) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		e.Tenant, e.ID, e.Number, e.DisplayName, e.HA1, e.HA1SHA256, e.NoAnswer.Milliseconds(), e.ProvisionPath,
		h.ForwardAlways, h.ForwardBusy, h.ForwardNoAnswer, h.ForwardUnregistered, h.DoNotDisturb, h.MaxCalls, strings.Join(h.RingAlso, ","), string(e.Media), string(e.DTMF), string(e.OwnRole), e.EmergencyLocation, e.EmergencyCallback,
		tx.s.keys.seal(e.Tenant, e.Number, sipPassword))
	if err != nil {
		return e, fmt.Errorf("creating extension %s: %w", e.Number, err)
	}
	tx.touchExtension(e.Tenant, e.ID)
	tx.note(KindExtension, "create", e.Number, valueOfExtension(e))
	return e, nil
}

// nextID allots an id in the scope; ids are never used twice.
func (tx *Tx) nextID() (id int64, err error) {
	err = tx.row(`UPDATE tenant SET next_id = next_id + 1 WHERE id = ? RETURNING next_id - 1`, tx.scope).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("allotting an id: %w", err)
	}
	return id, nil
}

// PutExtension changes display name, ringing time, call handling, media security,
// the form of digits, the own role and what emergency services are told of the extension with e.Number; an empty Media, DTMF or
// OwnRole stays as it is. Password, HA1 and ProvisionPath have methods of their own and are
// not looked at.
func (tx *Tx) PutExtension(e telephony.Extension) error {
	if err := tx.tenantOnly(); err != nil {
		return err
	}
	if err := tx.own(&e.Tenant); err != nil {
		return err
	}
	old, err := tx.Extension(e.Number)
	if err != nil {
		return err
	}
	t, err := tx.Tenant()
	if err != nil {
		return err
	}
	if e.Media == "" {
		e.Media = old.Media
	}
	if e.DTMF == "" {
		e.DTMF = old.DTMF
	}
	if e.OwnRole == "" {
		e.OwnRole = old.OwnRole
	}
	if err := e.Validate(t); err != nil {
		return err
	}
	if valueOfExtension(e) == valueOfExtension(old) {
		return nil
	}
	if err := tx.checkRole("role", e.OwnRole); err != nil {
		return err
	}
	h := e.Handling
	_, err = tx.exec(`UPDATE extension SET display_name = ?, no_answer = ?, forward_always = ?, forward_busy = ?, forward_no_answer = ?,
		forward_unregistered = ?, do_not_disturb = ?, max_calls = ?, ring_also = ?, media_security = ?, dtmf = ?, role = ?,
		emergency_location = ?, emergency_callback = ? WHERE tenant_id = ? AND id = ?`,
		e.DisplayName, e.NoAnswer.Milliseconds(), h.ForwardAlways, h.ForwardBusy, h.ForwardNoAnswer,
		h.ForwardUnregistered, h.DoNotDisturb, h.MaxCalls, strings.Join(h.RingAlso, ","), string(e.Media), string(e.DTMF), string(e.OwnRole),
		e.EmergencyLocation, e.EmergencyCallback, old.Tenant, old.ID)
	if err != nil {
		return fmt.Errorf("storing extension %s: %w", e.Number, err)
	}
	tx.touchExtension(old.Tenant, old.ID)
	tx.note(KindExtension, "put", e.Number, valueOfExtension(e))
	return nil
}

// SetSIPPassword replaces the SIP password of an extension.
func (tx *Tx) SetSIPPassword(number, password string) error {
	if err := checkSIPPassword(password); err != nil {
		return err
	}
	e, err := tx.Extension(number)
	if err != nil {
		return err
	}
	t, err := tx.Tenant()
	if err != nil {
		return err
	}
	if err := tx.storeSIPPassword(e, t.Domain, password); err != nil {
		return err
	}
	tx.note(KindExtension, "sip_password", number, nil)
	return nil
}

func (tx *Tx) storeSIPPassword(e telephony.Extension, realm, password string) error {
	md5Hex, sha256Hex := ha1(e.Number, realm, password)
	_, err := tx.exec(`UPDATE extension SET ha1 = ?, ha1_sha256 = ?, sip_password = ? WHERE tenant_id = ? AND id = ?`,
		md5Hex, sha256Hex, tx.s.keys.seal(e.Tenant, e.Number, password), e.Tenant, e.ID)
	if err != nil {
		return fmt.Errorf("storing SIP password of extension %s: %w", e.Number, err)
	}
	tx.touchExtension(e.Tenant, e.ID)
	return nil
}

// changeRealm computes every HA1 of the tenant anew; HA1 is bound to the realm
// (RFC 7616 section 3.4.2).
func (tx *Tx) changeRealm(t telephony.Tenant) error {
	type secret struct {
		telephony.Extension
		sealed []byte
	}
	all, err := collect(tx.ctx, tx.tx, func(scan func(...any) error) (s secret, err error) {
		return s, scan(&s.Tenant, &s.ID, &s.Number, &s.sealed)
	}, `SELECT tenant_id, id, number, sip_password FROM extension WHERE tenant_id = ?`, t.ID)
	if err != nil {
		return fmt.Errorf("reading SIP passwords of tenant %d: %w", t.ID, err)
	}
	for _, s := range all {
		password, err := tx.s.keys.open(s.Tenant, s.Number, s.sealed)
		if err != nil {
			return err
		}
		if err := tx.storeSIPPassword(s.Extension, t.Domain, password); err != nil {
			return err
		}
	}
	return nil
}

// RotateProvisionPath gives an extension a new random directory for its
// phones' configuration; the old one is gone.
func (tx *Tx) RotateProvisionPath(number string) (path string, err error) {
	e, err := tx.Extension(number)
	if err != nil {
		return "", err
	}
	path = newProvisionPath()
	if _, err := tx.exec(`UPDATE extension SET provision_path = ? WHERE tenant_id = ? AND id = ?`, path, e.Tenant, e.ID); err != nil {
		return "", fmt.Errorf("storing provisioning path of extension %s: %w", number, err)
	}
	tx.touchExtension(e.Tenant, e.ID)
	tx.note(KindExtension, "provision_path", number, nil)
	return path, nil
}

// DeleteExtension removes an extension with its secrets, its provisioning path
// and its registrations. Users who had it stay, without an extension; call
// records stay.
func (tx *Tx) DeleteExtension(number string) error {
	e, err := tx.Extension(number)
	if err != nil {
		return err
	}
	r, err := tx.exec(`UPDATE user SET extension_id = NULL WHERE tenant_id = ? AND extension_id = ?`, e.Tenant, e.ID)
	if err != nil {
		return fmt.Errorf("deleting extension %s: %w", number, err)
	}
	if n, err := r.RowsAffected(); err != nil || n > 0 {
		tx.touch(KindUser, e.Tenant)
	}
	for _, query := range []string{
		`DELETE FROM binding WHERE tenant_id = ?1 AND aor_user = ?2`,
		`DELETE FROM extension WHERE tenant_id = ?1 AND number = ?2`,
	} {
		if _, err := tx.exec(query, e.Tenant, number); err != nil {
			return fmt.Errorf("deleting extension %s: %w", number, err)
		}
	}
	tx.touchExtension(e.Tenant, e.ID)
	tx.note(KindExtension, "delete", number, nil)
	return nil
}

// SIPPassword decrypts an extension's SIP password. Reading it is written to
// the history before the password is handed out.
func (sc Scope) SIPPassword(ctx context.Context, actor telephony.Actor, number string) (password string, err error) {
	err = sc.s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var sealed []byte
		err := tx.QueryRowContext(ctx, `SELECT sip_password FROM extension WHERE tenant_id = ? AND number = ?`, sc.tenant, number).Scan(&sealed)
		if err != nil {
			return fmt.Errorf("reading SIP password: %w", notFound(err))
		}
		if password, err = sc.s.keys.open(sc.tenant, number, sealed); err != nil {
			return err
		}
		return recordIn(ctx, tx, sc.tenant, actor, "extension.sip_password_read", number, nil)
	})
	if err != nil {
		return "", err
	}
	return password, nil
}
