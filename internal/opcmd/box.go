package opcmd

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"ringfence/internal/opsock"
	"ringfence/internal/version"
)

func showVersion(e Env, args []string) error {
	if err := none(args); err != nil {
		return err
	}
	_, err := fmt.Fprintln(e.Out, version.String())
	return err
}

func status(e Env, args []string) error {
	if err := none(args); err != nil {
		return err
	}
	var s opsock.Status
	if err := e.call(http.MethodGet, opsock.PathStatus, nil, &s); err != nil {
		return err
	}
	w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fence := "active"
	switch {
	case !s.FenceActive && s.FenceError == "":
		fence = "NOT ACTIVE"
	case !s.FenceActive:
		fence = "NOT ACTIVE: " + s.FenceError
	}
	setUp := "finished"
	if !s.SetupDone {
		setUp = "waiting: ringfence setup-token"
	}
	fmt.Fprintf(w, "version\t%s\n", s.Version)
	fmt.Fprintf(w, "host\t%s\n", s.Hostname)
	fmt.Fprintf(w, "up\t%s\n", time.Duration(s.UptimeSeconds)*time.Second)
	fmt.Fprintf(w, "set-up\t%s\n", setUp)
	fmt.Fprintf(w, "certificate\t%s\n", s.Fingerprint)
	if s.Certificate != "" {
		fmt.Fprintf(w, "\t%s\n", s.Certificate)
	}
	fmt.Fprintf(w, "packet filter\t%s\n", fence)
	fmt.Fprintf(w, "extensions\t%d\n", s.Extensions)
	fmt.Fprintf(w, "registrations\t%d\n", s.Registrations)
	fmt.Fprintf(w, "calls\t%d\n", s.Calls)
	if s.Clock != "" {
		fmt.Fprintf(w, "clock\t%s\n", s.Clock)
	}
	fmt.Fprintf(w, "settings\trevision %d\n", s.Rev)
	switch t := s.Trial; {
	case t.SecondsLeft > 0:
		fmt.Fprintf(w, "trial\t%s\n", trialText(t))
	case t.Reverted != "":
		fmt.Fprintf(w, "trial\ttaken back: %s\n", t.Reverted)
	}
	for _, a := range s.Applied {
		state := fmt.Sprintf("revision %d", a.Rev)
		if a.Error != "" {
			state += ", then: " + a.Error
		}
		fmt.Fprintf(w, "  %s\t%s\n", a.Subsystem, state)
	}
	return nil
}

func setupToken(e Env, args []string) error {
	flags := newFlags("setup-token")
	renew := flags.Bool("new", false, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := none(flags.Args()); err != nil {
		return err
	}
	method := http.MethodGet
	if *renew {
		method = http.MethodPost
	}
	var t opsock.Token
	if err := e.call(method, opsock.PathSetupToken, nil, &t); err != nil {
		return err
	}
	if t.Token == "" {
		return errors.New("first-boot data brought the token as a hash; -new makes another one")
	}
	_, err := fmt.Fprintln(e.Out, t.Token)
	return err
}

func resetAdmin(e Env, args []string) error {
	if len(args) > 1 {
		return none(args[1:])
	}
	var in opsock.ResetAdmin
	if len(args) == 1 {
		in.Name = strings.ToLower(args[0])
	}
	var p opsock.NewPassword
	if err := e.call(http.MethodPost, opsock.PathResetAdmin, in, &p); err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.Out, "user      %s\npassword  %s\n", p.Name, p.Password)
	return err
}
