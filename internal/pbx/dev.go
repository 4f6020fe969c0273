package pbx

import (
	"context"
	"fmt"
	"strconv"

	"ringfence/internal/login"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

const (
	devDomain = "dev.ringfence.test"
	devAdmin  = "admin"
	// devPasswordLength is that of generated passwords, in characters.
	devPasswordLength = 24
)

// seed fills a fresh database for Dev and returns what only this run knows:
// the passwords. A database that is set up is left alone.
func seed(ctx context.Context, s *store.Store, logins *login.Service, n int) (AdminFacts, []PhoneFacts, error) {
	if s.Snapshot().Settings.SetupDone {
		return AdminFacts{}, known(s.Snapshot()), nil
	}
	admin := AdminFacts{User: devAdmin, Password: login.GeneratePassword(devPasswordLength)}
	adminHash, err := logins.Hash(ctx, admin.Password)
	if err != nil {
		return admin, nil, fmt.Errorf("seeding the administrator: %w", err)
	}
	// One password for all seeded users: a hash of its own for each of 10,000
	// would take minutes.
	userPassword := login.GeneratePassword(devPasswordLength)
	userHash, err := logins.Hash(ctx, userPassword)
	if err != nil {
		return admin, nil, fmt.Errorf("seeding users: %w", err)
	}
	first, last := devRange(n)
	var phones []PhoneFacts
	actor := telephony.Actor{Kind: telephony.ActorSystem, Name: "dev"}
	_, err = s.System().Update(ctx, actor, func(tx *store.Tx) error {
		phones = phones[:0]
		if _, err := tx.CreateUser(telephony.User{Name: devAdmin, FirstName: "Dev", LastName: "Eloper", Role: telephony.RoleSystemAdmin}, adminHash); err != nil {
			return err
		}
		id, err := tx.CreateTenant(telephony.Tenant{Name: "Dev", Domain: devDomain, ExtensionFirst: first, ExtensionLast: last})
		if err != nil {
			return err
		}
		tenant, err := tx.ForTenant(id)
		if err != nil {
			return err
		}
		start, _ := strconv.Atoi(first)
		for i := range n {
			p := PhoneFacts{Number: strconv.Itoa(start + i), SIPPassword: login.GeneratePassword(devPasswordLength), UserPassword: userPassword, Domain: devDomain}
			p.SIPUser, p.User = p.Number, "user"+p.Number
			if err := seedPhone(tenant, p, userHash); err != nil {
				return err
			}
			phones = append(phones, p)
		}
		settings, err := tx.Settings()
		if err != nil {
			return err
		}
		settings.SetupDone = true
		return tx.PutSettings(settings)
	})
	if err != nil {
		return admin, nil, fmt.Errorf("seeding: %w", err)
	}
	return admin, phones, nil
}

func seedPhone(tx *store.Tx, p PhoneFacts, userHash string) error {
	if _, err := tx.CreateExtension(telephony.Extension{Number: p.Number, DisplayName: "Phone " + p.Number}, p.SIPPassword); err != nil {
		return err
	}
	_, err := tx.CreateUser(telephony.User{Name: p.User, FirstName: "Phone", LastName: p.Number, Role: telephony.RoleStandard, Extension: p.Number}, userHash)
	return err
}

// devRange is the smallest range of n extensions: from 101, 1001 or 10001 on.
func devRange(n int) (first, last string) {
	start, end := 101, 999
	for end-start+1 < n {
		start, end = start*10-9, end*10+9
	}
	return strconv.Itoa(start), strconv.Itoa(end)
}

// known lists the extensions of a database that was there before, without
// their passwords.
func known(s *telephony.Snapshot) (all []PhoneFacts) {
	for _, t := range s.Tenants() {
		for _, e := range s.Extensions(t.ID) {
			all = append(all, PhoneFacts{Number: e.Number, SIPUser: e.Number, Domain: t.Domain})
		}
	}
	return all
}
