package debian

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/coreos/go-systemd/v22/login1"
	godbus "github.com/godbus/dbus/v5"
)

// Unit is how a unit of systemd is.
type Unit struct {
	Load    string // "loaded", "masked", "not-found"
	Active  string // "active", "inactive", "failed"
	MainPID int    // 0 without
}

// Systemd are the orders to PID 1; the real one, or a fake.
type Systemd interface {
	Unit(ctx context.Context, name string) (Unit, error)
	Start(ctx context.Context, name string) error
	Stop(ctx context.Context, name string) error
	Restart(ctx context.Context, name string) error
	Mask(ctx context.Context, name string) error
	Unmask(ctx context.Context, name string) error
	// Leaders are the first processes of the sessions that sshd has opened.
	Leaders(ctx context.Context) ([]int, error)
}

// orderTimeout bounds an order, stopping a service included.
const orderTimeout = 60 * time.Second

// Bus reaches systemd over D-Bus, anew for every order: they are rare, and PID
// 1 may restart itself.
type Bus struct{}

// with connects, to systemd itself if the bus is not there yet.
func (Bus) with(ctx context.Context, what string, do func(context.Context, *dbus.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	c, err := dbus.NewWithContext(ctx)
	if err == nil {
		defer c.Close()
		err = do(ctx, c)
	}
	if err != nil {
		return fmt.Errorf("asking systemd to %s: %w", what, err)
	}
	return nil
}

// Unit reads a unit's state.
func (b Bus) Unit(ctx context.Context, name string) (u Unit, err error) {
	err = b.with(ctx, "describe "+name, func(ctx context.Context, c *dbus.Conn) error {
		list, err := c.ListUnitsByNamesContext(ctx, []string{name})
		if err != nil {
			return err
		}
		if len(list) != 1 {
			return errors.New("it knows no such unit")
		}
		u.Load, u.Active = list[0].LoadState, list[0].ActiveState
		if u.Load != "loaded" {
			return nil
		}
		p, err := c.GetServicePropertyContext(ctx, name, "MainPID")
		if err != nil {
			return err
		}
		if pid, ok := p.Value.Value().(uint32); ok {
			u.MainPID = int(pid)
		}
		return nil
	})
	return u, err
}

type job func(ctx context.Context, name, mode string, done chan<- string) (int, error)

// run starts a job and waits for its result.
func (b Bus) run(ctx context.Context, verb, name string, pick func(*dbus.Conn) job) error {
	return b.with(ctx, verb+" "+name, func(ctx context.Context, c *dbus.Conn) error {
		done := make(chan string, 1)
		if _, err := pick(c)(ctx, name, "replace", done); err != nil {
			return err
		}
		select {
		case result := <-done:
			if result != "done" {
				return errors.New("the job's result is " + result)
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// Start starts a unit.
func (b Bus) Start(ctx context.Context, name string) error {
	return b.run(ctx, "start", name, func(c *dbus.Conn) job { return c.StartUnitContext })
}

// Stop stops a unit.
func (b Bus) Stop(ctx context.Context, name string) error {
	return b.run(ctx, "stop", name, func(c *dbus.Conn) job { return c.StopUnitContext })
}

// Restart restarts a unit.
func (b Bus) Restart(ctx context.Context, name string) error {
	return b.run(ctx, "restart", name, func(c *dbus.Conn) job { return c.RestartUnitContext })
}

// Mask keeps a unit from being started by anybody, also after a reboot.
func (b Bus) Mask(ctx context.Context, name string) error {
	return b.with(ctx, "mask "+name, func(ctx context.Context, c *dbus.Conn) error {
		if _, err := c.MaskUnitFilesContext(ctx, []string{name}, false, false); err != nil {
			return err
		}
		return c.ReloadContext(ctx)
	})
}

// Unmask undoes Mask.
func (b Bus) Unmask(ctx context.Context, name string) error {
	return b.with(ctx, "unmask "+name, func(ctx context.Context, c *dbus.Conn) error {
		if _, err := c.UnmaskUnitFilesContext(ctx, []string{name}, false); err != nil {
			return err
		}
		return c.ReloadContext(ctx)
	})
}

// Leaders asks logind.
func (Bus) Leaders(ctx context.Context) (pids []int, err error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	fail := func(err error) ([]int, error) { return nil, fmt.Errorf("asking logind for sessions: %w", err) }
	c, err := login1.New()
	if err != nil {
		return fail(err)
	}
	defer c.Close()
	sessions, err := c.ListSessionsContext(ctx)
	if err != nil {
		return fail(err)
	}
	for _, s := range sessions {
		p, err := c.GetSessionPropertiesContext(ctx, s.Path)
		if err != nil {
			continue // it has ended
		}
		service, _ := p["Service"].Value().(string)
		leader, _ := p["Leader"].Value().(uint32)
		if service == "sshd" && leader > 0 {
			pids = append(pids, int(leader))
		}
	}
	return pids, nil
}

// SetHostname has hostnamed set the static and the running name.
func (Bus) SetHostname(name string) error {
	return call("org.freedesktop.hostname1", "/org/freedesktop/hostname1", "SetStaticHostname", name, false)
}

// SetClock has timedated set the clock. It refuses while the clock follows
// time servers.
func (Bus) SetClock(t time.Time) error {
	return call("org.freedesktop.timedate1", "/org/freedesktop/timedate1", "SetTime", t.UnixMicro(), false, false)
}

// call calls a method of a service whose interface has its name.
func call(service string, path godbus.ObjectPath, method string, args ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), orderTimeout)
	defer cancel()
	c, err := godbus.ConnectSystemBus(godbus.WithContext(ctx))
	if err == nil {
		defer c.Close()
		err = c.Object(service, path).CallWithContext(ctx, service+"."+method, 0, args...).Err
	}
	if err != nil {
		return fmt.Errorf("asking %s for %s: %w", service, method, err)
	}
	return nil
}
