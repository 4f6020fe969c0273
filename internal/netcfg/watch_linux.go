package netcfg

import (
	"context"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
)

const (
	// settle is how long the kernel has to be quiet before a change is told.
	settle = 50 * time.Millisecond
	// rewatch is the pause after the kernel's notices were lost.
	rewatch = time.Second
)

// Watch calls changed once at first, and then after links, addresses or routes
// changed, from one goroutine, until ctx ends.
func Watch(ctx context.Context, changed func()) {
	for ctx.Err() == nil {
		// A lost or overrun subscription means unknown changes: begin anew.
		_ = watchOnce(ctx, changed)
		select {
		case <-ctx.Done():
		case <-time.After(rewatch):
		}
	}
}

func watchOnce(ctx context.Context, changed func()) error {
	done := make(chan struct{})
	defer close(done)
	links, addrs, routes := make(chan netlink.LinkUpdate), make(chan netlink.AddrUpdate), make(chan netlink.RouteUpdate)
	fault := make(chan error, 3)
	note := func(err error) {
		select {
		case fault <- err:
		default:
		}
	}
	if err := netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{ErrorCallback: note}); err != nil {
		return fmt.Errorf("watching links: %w", err)
	}
	defer drain(links)
	if err := netlink.AddrSubscribeWithOptions(addrs, done, netlink.AddrSubscribeOptions{ErrorCallback: note}); err != nil {
		return fmt.Errorf("watching addresses: %w", err)
	}
	defer drain(addrs)
	if err := netlink.RouteSubscribeWithOptions(routes, done, netlink.RouteSubscribeOptions{ErrorCallback: note}); err != nil {
		return fmt.Errorf("watching routes: %w", err)
	}
	defer drain(routes)
	quiet := time.NewTimer(0)
	defer quiet.Stop()
	for {
		ok := true
		select {
		case <-ctx.Done():
			return nil
		case err := <-fault:
			return err
		case <-quiet.C:
			changed()
			continue
		case _, ok = <-links:
		case _, ok = <-addrs:
		case _, ok = <-routes:
		}
		if !ok {
			return fmt.Errorf("the kernel's notices ended")
		}
		quiet.Reset(settle)
	}
}

// drain lets a subscription's goroutine end: it may be about to send.
func drain[T any](c <-chan T) {
	go func() {
		for range c {
		}
	}()
}
