package qemu

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ringfence/internal/ports"
)

// checkShell switches the operator shell on and runs a command in it. That
// its port is silent before says the scan.
func checkShell(t *testing.T, vm *VM) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key := map[string]string{"label": "boss", "key": string(ssh.MarshalAuthorizedKey(signer.PublicKey()))}
	if err := vm.API.Do(t.Context(), "POST", "/ssh/keys", key, nil); err != nil {
		t.Fatal(err)
	}
	if err := vm.API.Do(t.Context(), "PUT", "/ssh", map[string]bool{"enabled": true}, nil); err != nil {
		t.Fatal(err)
	}
	row, _ := ports.Lookup(ports.Table(), ports.SSH)
	addr := net.JoinHostPort(guest4, row.Ports())
	var conn net.Conn
	begin := time.Now()
	for conn == nil {
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		conn, err = vm.NS.DialContext(ctx, "tcp", addr)
		cancel()
		if err != nil && time.Since(begin) > 20*time.Second {
			t.Fatal(err)
		}
	}
	defer conn.Close()
	t.Logf("the operator shell answered %.2f s after it was switched on", time.Since(begin).Seconds())
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	c, channels, requests, err := ssh.NewClientConn(conn, addr, &ssh.ClientConfig{User: "operator", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(c, channels, requests)
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := session.Output("status"); err != nil || !strings.Contains(string(out), "packet filter") {
		t.Errorf("status: %v: %s", err, out)
	}
	if err := vm.API.Do(t.Context(), "PUT", "/ssh", map[string]bool{"enabled": false}, nil); err != nil {
		t.Fatal(err)
	}
}
