package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// Client asks the server on a socket.
type Client struct{ Socket string }

// Status asks how the machine is.
func (c Client) Status(ctx context.Context) (Status, error) {
	a, err := c.call(ctx, Request{Op: OpStatus})
	if err != nil {
		return Status{}, err
	}
	if a.Status == nil {
		return Status{}, errors.New("asking sysd: it gave no status")
	}
	return *a.Status, nil
}

// Reboot restarts the machine in order.
func (c Client) Reboot(ctx context.Context) error { return c.do(ctx, Request{Op: OpReboot}) }

// PowerOff switches the machine off in order.
func (c Client) PowerOff(ctx context.Context) error { return c.do(ctx, Request{Op: OpPowerOff}) }

// SetHostname names the machine, now and for later boots.
func (c Client) SetHostname(ctx context.Context, name string) error {
	return c.do(ctx, Request{Op: OpHostname, Hostname: name})
}

// SetClock sets the machine's time.
func (c Client) SetClock(ctx context.Context, t time.Time) error {
	return c.do(ctx, Request{Op: OpClock, Time: t})
}

// FactoryReset wipes all data by way of a restart.
func (c Client) FactoryReset(ctx context.Context) error {
	return c.do(ctx, Request{Op: OpFactoryReset})
}

func (c Client) do(ctx context.Context, r Request) error {
	_, err := c.call(ctx, r)
	return err
}

func (c Client) call(ctx context.Context, r Request) (a Answer, err error) {
	fail := func(err error) (Answer, error) { return Answer{}, fmt.Errorf("asking sysd for %s: %w", r.Op, err) }
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.Socket)
	if err != nil {
		return fail(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	out, err := json.Marshal(r)
	if err != nil {
		return fail(err)
	}
	if _, err := conn.Write(append(out, '\n')); err != nil {
		return fail(err)
	}
	line, err := readLine(conn, maxAnswer)
	if err != nil {
		return fail(err)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return fail(err)
	}
	switch a.Error {
	case "":
		return a, nil
	case ErrUnsupported.Error():
		return fail(ErrUnsupported)
	}
	return fail(errors.New(a.Error))
}
