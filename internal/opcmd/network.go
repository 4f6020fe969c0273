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
	path, said := "", ""
	switch args[0] {
	case "confirm":
		path, said = opsock.PathNetworkConfirm, "The change of the network is kept."
	case "revert":
		path, said = opsock.PathNetworkRevert, "The change of the network was taken back."
	default:
		return none(args)
	}
	if err := none(args[1:]); err != nil {
		return err
	}
	if err := e.call(http.MethodPost, path, nil, nil); err != nil {
		return err
	}
	fmt.Fprintln(e.Out, said)
	return nil
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
