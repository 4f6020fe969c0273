package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"ringfence/internal/telephony"
)

// SaveSubscriptions stores and removes event subscriptions in one transaction;
// it is meant for batches written behind. Those of extensions that do not exist
// (any more) are left out. Of removed ones only tenant and local tag are looked
// at.
func (s *Store) SaveSubscriptions(ctx context.Context, put, removed []telephony.Subscription) error {
	if len(put)+len(removed) == 0 {
		return nil
	}
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, x := range removed {
			if _, err := tx.ExecContext(ctx, `DELETE FROM subscription WHERE tenant_id = ? AND local_tag = ?`, x.Tenant, x.LocalTag); err != nil {
				return err
			}
		}
		stmt, err := tx.PrepareContext(ctx, putSubscriptionSQL)
		if err != nil {
			return err
		}
		defer stmt.Close()
		for _, x := range put {
			if _, err := stmt.ExecContext(ctx, subscriptionValues(x)...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing subscriptions: %w", err)
	}
	return nil
}

const subscriptionColumns = `tenant_id, local_tag, subscriber, resource, event, event_id, call_id, remote_tag, local_uri, remote_uri,
	target, routes, local_seq, remote_seq, version, node_id, epoch, listener, local, remote, expires_at`

const putSubscriptionSQL = `INSERT INTO subscription (` + subscriptionColumns + `)
	SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21
	WHERE EXISTS (SELECT 1 FROM extension WHERE tenant_id = ?1 AND number = ?3)
	ON CONFLICT (tenant_id, local_tag) DO UPDATE SET
	target = ?11, local_seq = ?13, remote_seq = ?14, version = ?15, node_id = ?16, epoch = ?17, listener = ?18,
	local = ?19, remote = ?20, expires_at = ?21`

// routeBreak separates routes, which have no line breaks.
const routeBreak = "\n"

func subscriptionValues(x telephony.Subscription) []any {
	return []any{x.Tenant, x.LocalTag, x.Subscriber, x.Resource, x.Event, x.EventID, x.CallID, x.RemoteTag, x.Local, x.Remote,
		x.Target, strings.Join(x.Routes, routeBreak), x.LocalSeq, x.RemoteSeq, x.Version, string(x.Flow.Node), int64(x.Flow.Epoch),
		string(x.Flow.Listener), addrPortText(x.Flow.Local), addrPortText(x.Flow.Remote), micros(x.Expires)}
}

func scanSubscription(scan func(...any) error) (x telephony.Subscription, err error) {
	var epoch, expires int64
	var routes, local, remote string
	err = scan(&x.Tenant, &x.LocalTag, &x.Subscriber, &x.Resource, &x.Event, &x.EventID, &x.CallID, &x.RemoteTag, &x.Local, &x.Remote,
		&x.Target, &routes, &x.LocalSeq, &x.RemoteSeq, &x.Version, &x.Flow.Node, &epoch,
		&x.Flow.Listener, &local, &remote, &expires)
	if routes != "" {
		x.Routes = strings.Split(routes, routeBreak)
	}
	x.Flow.Epoch, x.Flow.Local, x.Flow.Remote = uint64(epoch), parseAddrPort(local), parseAddrPort(remote)
	x.Expires = fromMicros(expires)
	return x, err
}

// LoadSubscriptions reads the subscriptions that have not expired.
func (s *Store) LoadSubscriptions(ctx context.Context) ([]telephony.Subscription, error) {
	out, err := collect(ctx, s.readers, scanSubscription, `SELECT `+subscriptionColumns+` FROM subscription WHERE expires_at > ?
		ORDER BY tenant_id, expires_at, local_tag`, micros(time.Now()))
	if err != nil {
		return nil, fmt.Errorf("reading subscriptions: %w", err)
	}
	return out, nil
}

// pruneSubscriptions removes what expired.
func (s *Store) pruneSubscriptions(ctx context.Context, now time.Time) error {
	var n int
	if err := s.readers.QueryRowContext(ctx, `SELECT count(*) FROM subscription WHERE expires_at <= ?`, micros(now)).Scan(&n); err != nil || n == 0 {
		return err
	}
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM subscription WHERE expires_at <= ?`, micros(now))
		return err
	})
}
