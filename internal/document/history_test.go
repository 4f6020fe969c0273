package document

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"ringfence/internal/store"
)

// TestHistoryKeepsWhoAndWhat: revisions can be listed, and one can return to
// each.
func TestHistoryKeepsWhoAndWhat(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	if _, err := apply(t, s, rich, Options{}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { KeepHistory(ctx, s, slog.New(slog.DiscardHandler)) })
	kept := func(n int) []store.Revision {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			list, err := s.Revisions(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(list) >= n || time.Now().After(deadline) {
				return list
			}
		}
	}
	first := kept(1)
	if len(first) != 1 || first[0].Actor.Name != "boss" || first[0].Rev != s.Snapshot().Rev {
		t.Fatalf("%+v", first)
	}
	if _, err := apply(t, s, strings.Replace(rich, "Bert", "Berta", 1), Options{}); err != nil {
		t.Fatal(err)
	}
	stop() // what is still to be kept is kept
	wg.Wait()
	all := kept(2)
	if len(all) != 2 || all[0].Rev != s.Snapshot().Rev || all[1].Rev != first[0].Rev {
		t.Fatalf("%+v", all)
	}
	text, err := s.RevisionDocument(t.Context(), first[0].Rev)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := apply(t, s, string(text), Options{})
	if err != nil || len(changes) != 1 || changes[0].Object != "tenants[a.test].extensions[102]" {
		t.Errorf("%+v %v", changes, err)
	}
}
