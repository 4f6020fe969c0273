package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"net/netip"
	"time"

	"ringfence/internal/telephony"
)

// SaveBindings stores and removes registrations in one transaction; it is
// meant for batches written behind. Bindings of extensions that do not exist
// (any more) are left out. Of removed ones only the identity is looked at:
// tenant, AOR user, contact, instance and reg-id.
func (s *Store) SaveBindings(ctx context.Context, put, removed []telephony.Binding) error {
	if len(put)+len(removed) == 0 {
		return nil
	}
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, b := range removed {
			_, err := tx.ExecContext(ctx, `DELETE FROM binding WHERE tenant_id = ? AND aor_user = ? AND contact = ? AND instance = ? AND reg_id = ?`,
				b.Tenant, b.AOR.User, b.Contact, b.Instance, b.RegID)
			if err != nil {
				return err
			}
		}
		stmt, err := tx.PrepareContext(ctx, putBindingSQL)
		if err != nil {
			return err
		}
		defer stmt.Close()
		for i, b := range put {
			if _, err := stmt.ExecContext(ctx, bindingValues(b)...); err != nil {
				return err
			}
			if i%breathEvery == breathEvery-1 {
				time.Sleep(breath)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing bindings: %w", err)
	}
	return nil
}

// A batch of thousands takes long enough to be heard in a call if there is one
// processor: the scheduler looks at the network only when nobody runs. So it
// makes way every half a millisecond.
const (
	breathEvery = 16
	breath      = 50 * time.Microsecond
)

const bindingColumns = `tenant_id, aor_user, aor_domain, contact, instance, reg_id, q, call_id, cseq, user_agent,
	node_id, epoch, listener, local, remote, token, registered_at, expires_at,
	outbound, nat, path, pn_provider, pn_prid, pn_param`

const putBindingSQL = `INSERT INTO binding (` + bindingColumns + `)
	SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
	?19, ?20, ?21, ?22, ?23, ?24
	WHERE EXISTS (SELECT 1 FROM extension WHERE tenant_id = ?1 AND number = ?2)
	ON CONFLICT (tenant_id, aor_user, contact, instance, reg_id) DO UPDATE SET
	aor_domain = ?3, q = ?7, call_id = ?8, cseq = ?9, user_agent = ?10, node_id = ?11, epoch = ?12, listener = ?13,
	local = ?14, remote = ?15, token = ?16, registered_at = ?17, expires_at = ?18,
	outbound = ?19, nat = ?20, path = ?21, pn_provider = ?22, pn_prid = ?23, pn_param = ?24`

func bindingValues(b telephony.Binding) []any {
	return []any{b.Tenant, b.AOR.User, b.AOR.Domain, b.Contact, b.Instance, b.RegID, int64(math.Round(b.Q * 1000)),
		b.CallID, b.CSeq, b.UserAgent, string(b.Flow.Node), int64(b.Flow.Epoch), string(b.Flow.Listener),
		addrPortText(b.Flow.Local), addrPortText(b.Flow.Remote), b.Flow.Token, micros(b.Registered), micros(b.Expires),
		b.Outbound, b.NAT, b.Path, b.Push.Provider, b.Push.PRID, b.Push.Param}
}

func addrPortText(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func parseAddrPort(s string) netip.AddrPort {
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPort{}
	}
	return a
}

func scanBinding(scan func(...any) error) (b telephony.Binding, err error) {
	var q, epoch, registered, expires int64
	var local, remote string
	err = scan(&b.Tenant, &b.AOR.User, &b.AOR.Domain, &b.Contact, &b.Instance, &b.RegID, &q, &b.CallID, &b.CSeq, &b.UserAgent,
		&b.Flow.Node, &epoch, &b.Flow.Listener, &local, &remote, &b.Flow.Token, &registered, &expires,
		&b.Outbound, &b.NAT, &b.Path, &b.Push.Provider, &b.Push.PRID, &b.Push.Param)
	b.Q, b.Flow.Epoch = float64(q)/1000, uint64(epoch)
	b.Flow.Local, b.Flow.Remote = parseAddrPort(local), parseAddrPort(remote)
	b.Registered, b.Expires = fromMicros(registered), fromMicros(expires)
	return b, err
}

// LoadBindings reads the registrations that have not expired.
func (s *Store) LoadBindings(ctx context.Context) ([]telephony.Binding, error) {
	out, err := collect(ctx, s.readers, scanBinding, `SELECT `+bindingColumns+` FROM binding WHERE expires_at > ?
		ORDER BY tenant_id, aor_user, registered_at`, micros(time.Now()))
	if err != nil {
		return nil, fmt.Errorf("reading bindings: %w", err)
	}
	return out, nil
}

// pruneBindings removes what expired.
func (s *Store) pruneBindings(ctx context.Context, now time.Time) error {
	var n int
	if err := s.readers.QueryRowContext(ctx, `SELECT count(*) FROM binding WHERE expires_at <= ?`, micros(now)).Scan(&n); err != nil || n == 0 {
		return err
	}
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM binding WHERE expires_at <= ?`, micros(now))
		return err
	})
}
