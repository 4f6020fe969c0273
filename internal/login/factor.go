package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
	"ringfence/internal/totp"
)

const (
	recoveryCodes     = 10
	recoveryCodeBytes = 10 // 80 random bits: a plain hash of it is enough
)

// Enrolment is what an authenticator app needs to be told.
type Enrolment struct {
	Secret string // base32, for typing
	URI    string // for the QR code
}

// mustEnrol reports whether a user without a second factor has to set one up.
func (s *Service) mustEnrol(u telephony.User) bool { return !u.SecondFactor && s.NeedsSecondFactor(u) }

// NeedsSecondFactor reports whether a user has to sign in with a second factor.
func (s *Service) NeedsSecondFactor(u telephony.User) bool {
	snap := s.store.Snapshot()
	role, _ := snap.Role(u.Tenant, u.Role)
	return snap.SignIn(u.Tenant).SecondFactor.Requires(role.Administers())
}

// BeginTOTP makes a secret for the authenticator app of the session's user. It
// is not in force before ConfirmTOTP. The password is asked for, and guesses
// count: a stolen session must not become a second factor of the thief's.
func (s *Service) BeginTOTP(ctx context.Context, addr netip.Addr, v Session, password string) (Enrolment, error) {
	if err := s.again(ctx, addr, v, password); err != nil {
		return Enrolment{}, err
	}
	secret := totp.NewSecret()
	_, err := s.scope(v.User).Update(ctx, userActor(v.User, addr), func(tx *store.Tx) error { return tx.BeginTOTP(v.User.ID, secret) })
	if err != nil {
		return Enrolment{}, fmt.Errorf("setting up the second factor: %w", err)
	}
	issuer := "Ringfence"
	if t, ok := s.store.Snapshot().Tenant(v.User.Tenant); ok {
		issuer += " " + t.Domain
	}
	return Enrolment{Secret: totp.Text(secret), URI: totp.URI(issuer, v.User.Name, secret)}, nil
}

// ConfirmTOTP puts the secret in force once the app shows the right code, and
// returns recovery codes that can be read nowhere afterwards.
func (s *Service) ConfirmTOTP(ctx context.Context, addr netip.Addr, v Session, code string) ([]string, error) {
	kept, err := s.scope(v.User).TOTP(ctx, v.User.ID)
	if err != nil {
		return nil, fmt.Errorf("setting up the second factor: %w", err)
	}
	step, ok := totp.Match(kept.Secret, code, time.Now(), kept.Last)
	if !ok {
		return nil, wrongCode(kept.Secret, code)
	}
	codes, hashes := newRecoveryCodes()
	_, err = s.scope(v.User).Update(ctx, userActor(v.User, addr), func(tx *store.Tx) error {
		// Sessions from before stand on the password alone.
		return errors.Join(tx.ConfirmTOTP(v.User.ID, step, hashes), tx.DeleteSessions(v.User.ID, &v.hash))
	})
	if err != nil {
		return nil, fmt.Errorf("setting up the second factor: %w", err)
	}
	return codes, nil
}

// wrongCode says what is wrong with a code of somebody who has just shown the
// password; most often it is a clock.
func wrongCode(secret []byte, code string) error {
	reason := "is not the code the app shows for this account now"
	if off, ok := totp.Offset(secret, code, time.Now()); ok {
		reason = fmt.Sprintf("is the code of a time about %d seconds away: the clock of the phone or of the PBX is wrong", int(off.Abs().Seconds()))
	}
	return &telephony.FieldError{Field: "code", Reason: reason}
}

// RenewRecoveryCodes makes new recovery codes; the old ones are worth nothing
// any more.
func (s *Service) RenewRecoveryCodes(ctx context.Context, addr netip.Addr, v Session, password string) ([]string, error) {
	if err := s.again(ctx, addr, v, password); err != nil {
		return nil, err
	}
	codes, hashes := newRecoveryCodes()
	_, err := s.scope(v.User).Update(ctx, userActor(v.User, addr), func(tx *store.Tx) error { return tx.RenewRecoveryCodes(v.User.ID, hashes) })
	if err != nil {
		return nil, fmt.Errorf("making recovery codes: %w", err)
	}
	return codes, nil
}

// DisableTOTP takes the second factor of the session's user off.
func (s *Service) DisableTOTP(ctx context.Context, addr netip.Addr, v Session, password string) error {
	if err := s.again(ctx, addr, v, password); err != nil {
		return err
	}
	_, err := s.scope(v.User).Update(ctx, userActor(v.User, addr), func(tx *store.Tx) error { return tx.DeleteSecondFactor(v.User.ID) })
	return err
}

// ResetSecondFactor takes a user's second factor off on an administrator's
// word, such as after a lost phone. All sessions of the user end.
func (s *Service) ResetSecondFactor(ctx context.Context, actor telephony.Actor, u telephony.User) error {
	_, err := s.scope(u).Update(ctx, actor, func(tx *store.Tx) error {
		return errors.Join(tx.DeleteSecondFactor(u.ID), tx.DeleteSessions(u.ID, nil))
	})
	return err
}

// SecondFactor pays what a session owes with the code of the app or with a
// recovery code. A new session with a new cookie takes the place of the old.
func (s *Service) SecondFactor(ctx context.Context, addr netip.Addr, v Session, code string) (Session, error) {
	if !v.Owed {
		return Session{}, ErrNoSession
	}
	t := attempt{addr: addr, name: v.User.Name, user: v.User}
	err := s.try(ctx, t, func(ctx context.Context) (bool, error) { return s.checkCode(ctx, addr, v.User, code) })
	if err != nil {
		return Session{}, err
	}
	if err := s.store.DeleteSession(ctx, v.hash); err != nil {
		return Session{}, err
	}
	if err := s.recordLogin(ctx, addr, v.User); err != nil {
		return Session{}, err
	}
	return s.Start(ctx, addr, v.User)
}

func (s *Service) checkCode(ctx context.Context, addr netip.Addr, u telephony.User, code string) (bool, error) {
	sc := s.scope(u)
	if hash, ok := recoveryHash(code); ok {
		return sc.UseRecoveryCode(ctx, userActor(u, addr), u.ID, hash)
	}
	kept, err := sc.TOTP(ctx, u.ID)
	if err != nil {
		return false, fmt.Errorf("checking a code: %w", err)
	}
	step, ok := totp.Match(kept.Secret, code, time.Now(), kept.Last)
	if !ok || !kept.Confirmed {
		return false, nil
	}
	return sc.UseTOTP(ctx, u.ID, step)
}

// RecoveryCodes counts the recovery codes a user has left.
func (s *Service) RecoveryCodes(ctx context.Context, u telephony.User) (int, error) {
	return s.scope(u).RecoveryCodes(ctx, u.ID)
}

// again asks somebody with a session for the password once more.
func (s *Service) again(ctx context.Context, addr netip.Addr, v Session, password string) error {
	u, hash, err := s.scope(v.User).User(ctx, v.User.ID)
	if err != nil {
		return fmt.Errorf("checking a password: %w", err)
	}
	if hash == "" {
		return nil // signs in by a provider: there is no password to show
	}
	return s.try(ctx, attempt{addr: addr, name: u.Name, user: u}, s.password(hash, password))
}

func userActor(u telephony.User, addr netip.Addr) telephony.Actor {
	return telephony.Actor{Kind: telephony.ActorUser, Name: u.Name, Addr: addr}
}

// recoveryAlphabet has lower case letters and digits that are not mistaken for
// one another.
const recoveryAlphabet = "abcdefghijkmnpqrstuvwxyz23456789"

func recoveryEncoding() *base32.Encoding {
	return base32.NewEncoding(recoveryAlphabet).WithPadding(base32.NoPadding)
}

// newRecoveryCodes makes codes as people write them down, and their hashes.
func newRecoveryCodes() (codes []string, hashes [][32]byte) {
	for range recoveryCodes {
		b := make([]byte, recoveryCodeBytes)
		rand.Read(b)
		text := recoveryEncoding().EncodeToString(b)
		codes = append(codes, text[:4]+"-"+text[4:8]+"-"+text[8:12]+"-"+text[12:])
		hashes = append(hashes, sha256.Sum256([]byte(text)))
	}
	return codes, hashes
}

// recoveryHash reads a recovery code in any case and with any dashes; false is
// something else, such as the code of an app.
func recoveryHash(code string) (hash [32]byte, ok bool) {
	text := strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToLower(strings.TrimSpace(code)))
	if len(text) != recoveryEncoding().EncodedLen(recoveryCodeBytes) || strings.Trim(text, recoveryAlphabet) != "" {
		return hash, false
	}
	return sha256.Sum256([]byte(text)), true
}
