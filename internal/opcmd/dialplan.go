package opcmd

import (
	"errors"
	"io"
	"net/http"

	"ringfence/internal/opsock"
)

// dialplanCommand shows what would become of a call.
func dialplanCommand(e Env, args []string) error {
	if len(args) == 0 || args[0] != "try" {
		return errors.New("dialplan knows one thing: try FROM NUMBER")
	}
	flags := newFlags("dialplan try")
	var in opsock.DialTry
	flags.StringVar(&in.Tenant, "tenant", "", "")
	flags.StringVar(&in.Trunk, "trunk", "", "")
	flags.StringVar(&in.At, "at", "", "")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	rest := flags.Args()
	if len(rest) != 2 {
		return errors.New("dialplan try takes who calls, and the number; a number with spaces goes in quotes")
	}
	in.From, in.Number = rest[0], rest[1]
	var out opsock.DialPlan
	if err := e.call(http.MethodPost, opsock.PathDialplanTry, in, &out); err != nil {
		return err
	}
	_, err := io.WriteString(e.Out, out.Text)
	return err
}
