package opsock

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCallOverTheSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), FileName)
	if err := os.WriteFile(path, nil, 0o600); err != nil { // what a killed process left
		t.Fatal(err)
	}
	ln, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o660 {
		t.Fatalf("%v %v", st, err)
	}
	srv := Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != PathStatus {
			w.WriteHeader(http.StatusConflict)
			_ = json.NewEncoder(w).Encode(Error{"no"})
			return
		}
		_ = json.NewEncoder(w).Encode(Status{Version: Peer(r.Context())})
	}))
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })

	var s Status
	if err := Call(t.Context(), path, http.MethodGet, PathStatus, nil, &s); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("uid %d", os.Getuid()); s.Version != want {
		t.Errorf("peer %q, want %q", s.Version, want)
	}
	if err := Call(t.Context(), path, http.MethodPost, PathResetAdmin, ResetAdmin{}, nil); err == nil || err.Error() != "no" {
		t.Errorf("refusal: %v", err)
	}
	if err := Call(t.Context(), path+"x", http.MethodGet, PathStatus, nil, nil); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("nobody there: %v", err)
	}
}
