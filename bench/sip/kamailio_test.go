package sip

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"ringfence/bench/host"
)

const (
	peerDomain = "bench.test"
	peerFirst  = 10001
)

// kamailio starts the peer: registrar and proxy with digest over UDP, users
// and bindings in memory, nonce counts checked as we check them.
func kamailio(t *testing.T, users int) *server {
	t.Helper()
	path, err := exec.LookPath("kamailio")
	if err != nil {
		t.Skip("kamailio is not installed (make deps)")
	}
	addr, dir := freePort(t), t.TempDir()
	file := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(file, []byte(kamailioConfig(addr, users)), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-f", file, "-DD", "-E", "-m", "256", "-M", "16", "-Y", dir, "-w", dir)
	cmd.Stdout, cmd.Stderr = log, log
	host.OnCore(t, host.ServerCore, func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("kamailio:\n%s", text[max(0, len(text)-4000):])
		}
	})
	s := &server{Server: host.Server{PID: cmd.Process.Pid}, name: "kamailio", addr: addr}
	for i := range users {
		n := strconv.Itoa(peerFirst + i)
		s.users = append(s.users, User{n, "pw-" + n, peerDomain})
	}
	untilAnswers(t, addr)
	return s
}

func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	conn, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// untilAnswers waits until a server answers OPTIONS, with whatever it likes.
func untilAnswers(t *testing.T, addr netip.AddrPort) {
	t.Helper()
	conn, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	me := conn.LocalAddr().String()
	m := fmt.Appendf(nil, "OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKup\r\nMax-Forwards: 70\r\nFrom: <sip:up@%s>;tag=up\r\n"+
		"To: <sip:%s>\r\nCall-ID: up\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", addr, me, me, addr)
	buf := make([]byte, 4096)
	for range 100 {
		_, _ = conn.WriteToUDPAddrPort(m, addr)
		_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if _, _, err := conn.ReadFromUDPAddrPort(buf); err == nil {
			return
		}
	}
	t.Fatalf("no answer from %s in 20 s", addr)
}

// kamailioConfig is written for this measurement: what a small set-up needs,
// and no more.
func kamailioConfig(addr netip.AddrPort, users int) string {
	return fmt.Sprintf(`#!KAMAILIO
debug=0
log_stderror=yes
fork=yes
children=4
listen=udp:%s
disable_tcp=yes
auto_aliases=no
dns=no
rev_dns=no
max_while_loops=%d
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
loadmodule "htable.so"
modparam("usrloc", "db_mode", 0)
modparam("usrloc", "hash_size", 14)
modparam("auth", "qop", "auth")
modparam("auth", "nonce_count", 1)
modparam("auth", "nid_pool_no", 4)
modparam("registrar", "max_contacts", 10)
modparam("htable", "htable", "ha1=>size=14;")

event_route[htable:mod-init] {
	$var(i) = %d;
	while ($var(i) < %d) {
		$var(a) = "" + $var(i) + ":%[5]s:pw-" + $var(i);
		$sht(ha1=>$var(i)) = $(var(a){s.md5});
		$var(i) = $var(i) + 1;
	}
}

request_route {
	if (!mf_process_maxfwd_header("70")) {
		sl_send_reply("483", "Too Many Hops");
		exit;
	}
	if (is_method("CANCEL")) {
		if (t_check_trans()) t_relay();
		exit;
	}
	if (has_totag()) {
		if (loose_route()) {
			t_relay();
			exit;
		}
		if (is_method("ACK")) {
			if (t_check_trans()) t_relay();
			exit;
		}
		sl_send_reply("404", "Not Found");
		exit;
	}
	t_check_trans();
	if (is_method("REGISTER")) {
		if (!pv_www_authenticate("%[5]s", "$sht(ha1=>$au)", "1")) {
			www_challenge("%[5]s", "1");
			exit;
		}
		save("location");
		exit;
	}
	if (!is_method("INVITE")) {
		sl_send_reply("405", "Method Not Allowed");
		exit;
	}
	if (!pv_proxy_authenticate("%[5]s", "$sht(ha1=>$au)", "1")) {
		proxy_challenge("%[5]s", "1");
		exit;
	}
	consume_credentials();
	record_route();
	if (!lookup("location")) {
		sl_send_reply("404", "Not Found");
		exit;
	}
	t_relay();
}
`, addr, users+100, peerFirst, peerFirst+users, peerDomain)
}
