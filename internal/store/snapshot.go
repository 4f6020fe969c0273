package store

import (
	"context"
	"errors"

	"ringfence/internal/telephony"
)

// readSnapshot builds the snapshot from the database alone.
func (s *Store) readSnapshot(ctx context.Context, q queryer) (*telephony.Snapshot, error) {
	rev, err := revOf(ctx, q)
	if err != nil {
		return nil, err
	}
	settings, err := readSettings(ctx, q, s.node)
	if err != nil {
		return nil, err
	}
	tenants, err := readTenants(ctx, q)
	if err != nil {
		return nil, err
	}
	extensions, err := readExtensions(ctx, q)
	if err != nil {
		return nil, err
	}
	signIn, err := readSignIn(ctx, q)
	if err != nil {
		return nil, err
	}
	roles, err := readRoles(ctx, q)
	if err != nil {
		return nil, err
	}
	snap := telephony.NewSnapshot(rev, settings, tenants, extensions).WithRoles(roles).WithSignIn(signIn)
	if snap.Rules, err = readAddressRules(ctx, q); err != nil {
		return nil, err
	}
	if snap.Trial, err = readTrial(ctx, q); err != nil {
		return nil, err
	}
	return snap, s.readRouting(ctx, q, snap)
}

// nextSnapshot builds the snapshot after the transaction from the one before
// it and the rows the transaction touched, so that one new extension among
// thousands does not read them all.
func (st *txState) nextSnapshot(old *telephony.Snapshot, rev uint64) (*telephony.Snapshot, error) {
	settings := old.Settings
	var err error
	if st.touched.settings {
		if settings, err = readSettings(st.ctx, st.tx, st.s.node); err != nil {
			return nil, err
		}
	}
	tenants := old.Tenants()
	if len(st.touched.tenants) > 0 {
		if tenants, err = readTenants(st.ctx, st.tx); err != nil {
			return nil, err
		}
	}
	var extensions []telephony.Extension
	for _, t := range tenants {
		for _, e := range old.Extensions(t.ID) {
			if !st.touched.extensions[extensionID{t.ID, e.ID}] {
				extensions = append(extensions, e)
			}
		}
	}
	for key := range st.touched.extensions {
		e, err := readExtension(st.ctx, st.tx, key)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		extensions = append(extensions, e)
	}
	signIn := old.SignInRules()
	if st.touched.signIn {
		if signIn, err = readSignIn(st.ctx, st.tx); err != nil {
			return nil, err
		}
	}
	roles := old.MadeRoles()
	if st.touched.roles {
		if roles, err = readRoles(st.ctx, st.tx); err != nil {
			return nil, err
		}
	}
	snap := telephony.NewSnapshot(rev, settings, tenants, extensions).WithRoles(roles).WithSignIn(signIn)
	if snap.Rules = old.Rules; st.touched.rules {
		if snap.Rules, err = readAddressRules(st.ctx, st.tx); err != nil {
			return nil, err
		}
	}
	if snap.Trial = old.Trial; st.touched.trial {
		if snap.Trial, err = readTrial(st.ctx, st.tx); err != nil {
			return nil, err
		}
	}
	return snap, st.nextRouting(old, snap)
}
