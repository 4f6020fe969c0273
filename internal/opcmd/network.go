package opcmd

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"

	"ringfence/internal/opsock"
)

func network(e Env, args []string) error {
	if len(args) == 0 {
		var n opsock.Network
		if err := e.call(http.MethodGet, opsock.PathNetwork, nil, &n); err != nil {
			return err
		}
		return networkTable(e.Out, n)
	}
	return decide(e, args, "network", opsock.PathNetworkConfirm, opsock.PathNetworkRevert)
}

// decide keeps a change that waits, or takes it back.
func decide(e Env, args []string, of, confirm, revert string) error {
	path, said := confirm, "is kept"
	switch args[0] {
	case "confirm":
	case "revert":
		path, said = revert, "was taken back"
	default:
		return none(args)
	}
	if err := none(args[1:]); err != nil {
		return err
	}
	if err := e.call(http.MethodPost, path, nil, nil); err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.Out, "The change of the %s %s.\n", of, said)
	return err
}

func trial(e Env, args []string) error {
	if len(args) > 0 {
		return decide(e, args, "settings", opsock.PathTrialConfirm, opsock.PathTrialRevert)
	}
	var t opsock.Trial
	if err := e.call(http.MethodGet, opsock.PathTrial, nil, &t); err != nil {
		return err
	}
	text := "No change of settings waits to be confirmed."
	switch {
	case t.SecondsLeft > 0:
		text = trialText(t) + "\nTo keep it: ringfence trial confirm"
	case t.Reverted != "":
		text = "The last change of settings was taken back: " + t.Reverted
	}
	_, err := fmt.Fprintln(e.Out, text)
	return err
}

func trialText(t opsock.Trial) string {
	return fmt.Sprintf("A change by %s (%s) is taken back in %d s.", t.By, strings.Join(t.Changes, " "), t.SecondsLeft)
}

func networkTable(out io.Writer, n opsock.Network) error {
	if !n.Managed {
		fmt.Fprintln(out, "The operating system manages the network of this machine.")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "INTERFACE\tSTATE\tMTU\tADDRESSES\tROUTER\tDHCP\t")
	for _, i := range n.Interfaces {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t\n", i.Name, i.State, i.MTU, strings.Join(i.Addresses, " "), strings.Join(i.Gateways, " "), i.DHCP)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, i := range n.Interfaces {
		if i.Error != "" {
			fmt.Fprintf(out, "%s: %s\n", i.Name, i.Error)
		}
	}
	switch {
	case n.SecondsLeft > 0:
		fmt.Fprintf(out, "\nA change waits and is taken back in %d s. To keep it: ringfence network confirm\n", n.SecondsLeft)
	case n.Reverted != "":
		fmt.Fprintf(out, "\nThe last change was taken back: %s.\n", n.Reverted)
	}
	if n.Error != "" {
		fmt.Fprintln(out, n.Error)
	}
	return nil
}
