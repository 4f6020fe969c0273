package httpd

import (
	"context"
	"net"
	"time"
)

type openedKey struct{}

// opened notes when a connection was accepted.
func opened(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, openedKey{}, time.Now())
}

// Opened is when the connection of a request was accepted; zero if it is not
// known.
func Opened(ctx context.Context) time.Time {
	t, _ := ctx.Value(openedKey{}).(time.Time)
	return t
}

type retiredKey struct{}

// Retired ends when the listener of a request is closed. Connections that were
// upgraded have to watch it: net/http forgets them.
func Retired(ctx context.Context) context.Context {
	if c, ok := ctx.Value(retiredKey{}).(context.Context); ok {
		return c
	}
	return context.Background()
}
