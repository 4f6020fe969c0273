package opcmd

import (
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"ringfence/internal/opsock"
)

func sshCommand(e Env, args []string) error {
	if len(args) == 0 {
		return e.ssh(http.MethodGet, nil)
	}
	name, rest := args[0], args[1:]
	switch name {
	case "enable", "disable":
		if err := none(rest); err != nil {
			return err
		}
		on := name == "enable"
		return e.ssh(http.MethodPost, opsock.SSHChange{Enabled: &on})
	case "add-key":
		if len(rest) < 2 {
			return fmt.Errorf("add-key takes a label and a public key, as in a .pub file")
		}
		return e.ssh(http.MethodPost, opsock.SSHChange{AddLabel: rest[0], AddKey: strings.Join(rest[1:], " ")})
	case "remove-key":
		if len(rest) != 1 {
			return fmt.Errorf("remove-key takes the id of a key, as ssh lists it")
		}
		return e.ssh(http.MethodPost, opsock.SSHChange{RemoveKey: rest[0]})
	}
	return fmt.Errorf("unknown argument %q; try: help", name)
}

// ssh changes the operator shell's settings, if in is not nil, and shows them.
func (e Env) ssh(method string, in any) error {
	var s opsock.SSH
	if err := e.call(method, opsock.PathSSH, in, &s); err != nil {
		return err
	}
	w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
	state := "off"
	if s.Enabled {
		state = "on: " + s.State
	}
	fmt.Fprintf(w, "operator shell\t%s\n", state)
	fmt.Fprintf(w, "log in\tssh -p %d %s@HOST\n", s.Port, s.User)
	if s.HostKey != "" {
		fmt.Fprintf(w, "host key\t%s\n", s.HostKey)
	}
	fmt.Fprintf(w, "refused log-ins\t%d\n", s.Refused)
	if err := w.Flush(); err != nil {
		return err
	}
	if len(s.Keys) == 0 {
		_, err := fmt.Fprintln(e.Out, "\nNobody may log in: there is no key.")
		return err
	}
	w = tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nID\tLABEL\tKEY\tADDED BY\tLAST USED")
	for _, k := range s.Keys {
		by := k.AddedBy
		if k.Cloud {
			by = "the cloud"
		}
		used := "never"
		if !k.LastUsed.IsZero() {
			used = k.LastUsed.UTC().Format(time.DateTime)
		}
		fmt.Fprintf(w, "%s\t%s\t%s %s\t%s\t%s\n", k.ID, k.Label, k.Type, k.Fingerprint, by, used)
	}
	return w.Flush()
}
