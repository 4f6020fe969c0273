package interop

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringfence/internal/siptest"
	"ringfence/tests/netlab"
)

// The account with the stand-in provider, and what a gateway registers as.
const (
	account  = "4930123"
	branch   = "branch"
	password = "secret-of-the-line"
	realm    = "provider.test"
)

// kamailio is one that runs in a namespace.
type kamailio struct {
	addr netip.AddrPort
	pid  int
}

// startKamailio runs one on port 5060 of an address with the routes of a
// provider or a gateway.
func startKamailio(t *testing.T, ns *netlab.Namespace, addr, routes string) *kamailio {
	t.Helper()
	need(t, "kamailio")
	k := &kamailio{addr: netip.AddrPortFrom(netip.MustParseAddr(addr), 5060)}
	dir := t.TempDir()
	file := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(file, fmt.Appendf(nil, kamailioBase, k.addr, routes), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := ns.Command(t.Context(), "kamailio", "-f", file, "-DD", "-E", "-m", "64", "-M", "8", "-Y", dir, "-w", dir)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own: a signal is for its children too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	k.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = syscall.Kill(-k.pid, syscall.SIGKILL) // gone already if the test killed it
		_ = cmd.Wait()
		log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("kamailio at %s:\n%s", k.addr, text[max(0, len(text)-4000):])
		}
	})
	k.untilAnswers(t, ns)
	return k
}

// untilAnswers waits until it answers OPTIONS.
func (k *kamailio) untilAnswers(t *testing.T, ns *netlab.Namespace) {
	t.Helper()
	conn, err := ns.ListenUDP(netip.AddrPortFrom(k.addr.Addr(), 0))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	me := conn.LocalAddr().String()
	ask := fmt.Appendf(nil, "OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKup\r\nMax-Forwards: 70\r\nFrom: <sip:up@%s>;tag=up\r\n"+
		"To: <sip:%s>\r\nCall-ID: up\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", k.addr, me, me, k.addr)
	buf := make([]byte, 4096)
	for limit := time.Now().Add(30 * time.Second); time.Now().Before(limit); {
		_, _ = conn.WriteToUDPAddrPort(ask, k.addr)
		_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if _, _, err := conn.ReadFromUDPAddrPort(buf); err == nil {
			return
		}
	}
	t.Fatalf("no answer from %s in 30 s", k.addr)
}

func (k *kamailio) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(-k.pid, sig); err != nil {
		t.Fatal(err)
	}
}

// outsider is a phone behind a Kamailio, at an address of the namespace: the
// outside world, with every number there is.
func outsider(t *testing.T, ns *netlab.Namespace, addr string, via netip.AddrPort, tone float64, more ...func(*siptest.Config)) *siptest.Phone {
	t.Helper()
	c := siptest.Config{
		Server: via, User: "+4930555000", Domain: realm, Tone: tone, AnyUser: true,
		Listen: netip.AddrPortFrom(netip.MustParseAddr(addr), 0), ListenUDP: ns.ListenUDP,
	}
	for _, f := range more {
		f(&c)
	}
	return siptest.NewPhone(t, c)
}

// kamailioBase is what a small proxy needs; %s are its address and the rest of
// the configuration, which has route[REGISTER] and route[INVITE].
const kamailioBase = `#!KAMAILIO
debug=1
log_stderror=yes
fork=yes
children=2
listen=udp:%s
disable_tcp=yes
auto_aliases=no
dns=no
rev_dns=no
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
modparam("usrloc", "db_mode", 0)
modparam("auth", "qop", "auth")
modparam("auth", "nonce_count", 1)

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
		if (loose_route()) t_relay();
		else if (is_method("ACK")) {
			if (t_check_trans()) t_relay();
		} else sl_send_reply("404", "Not Found");
		exit;
	}
	t_check_trans();
	if (is_method("OPTIONS")) {
		sl_send_reply("200", "OK");
		exit;
	}
	if (is_method("REGISTER")) {
		route(REGISTER);
		exit;
	}
	if (!is_method("INVITE")) {
		sl_send_reply("405", "Method Not Allowed");
		exit;
	}
	record_route();
	route(INVITE);
	t_relay();
}
%s`

// accounts is a provider of customers who register: both their REGISTER and
// their INVITE are challenged; calls from the outside go where they registered,
// with the called number in To.
func accounts(outside netip.AddrPort) string {
	return fill(`
route[REGISTER] {
	if ($au != "ACCOUNT" || !pv_www_authenticate("REALM", "PASSWORD", "0")) {
		www_challenge("REALM", "0");
		exit;
	}
	save("location");
}
route[INVITE] {
	if ($si == "OUTSIDE" && $sp == OUTPORT) {
		$ru = "sip:ACCOUNT@REALM";
		if (!lookup("location")) {
			sl_send_reply("480", "Temporarily Unavailable");
			exit;
		}
		return;
	}
	if ($au != "ACCOUNT" || !pv_proxy_authenticate("REALM", "PASSWORD", "0")) {
		proxy_challenge("REALM", "0");
		exit;
	}
	consume_credentials();
	$du = "sip:OUTSIDE:OUTPORT";
}
`, outside)
}

// addresses is a provider of customers who are known by their address.
func addresses(outside, customer netip.AddrPort) string {
	return fill(`
route[REGISTER] {
	sl_send_reply("403", "Forbidden");
}
route[INVITE] {
	if ($si == "OUTSIDE" && $sp == OUTPORT) {
		$ru = "sip:" + $rU + "@CUSTOMER";
		return;
	}
	if ($si != "CUSTADDR") {
		sl_send_reply("403", "Forbidden");
		exit;
	}
	$du = "sip:OUTSIDE:OUTPORT";
}
`, outside, "CUSTOMER", customer.String(), "CUSTADDR", customer.Addr().String())
}

// gateway registers with a PBX as a branch office's does, and answers the
// challenges of its INVITEs; all it has of the outside is one phone.
func gateway(t *testing.T, own, outside, pbx netip.AddrPort, domain string) string {
	t.Helper()
	dir := t.TempDir()
	escape := strings.NewReplacer(":", `\:`)
	line := []string{"1", "line", branch, domain, branch, domain, domain, branch, password, "", escape.Replace("sip:" + pbx.String()), "60", "0", "0", escape.Replace(own.String()), ""}
	tables := map[string]string{
		"version": "id(int,auto) table_name(string) table_version(int)\n1:uacreg:5\n",
		"uacreg": "id(int,auto) l_uuid(string) l_username(string) l_domain(string) r_username(string) r_domain(string) realm(string) auth_username(string) " +
			"auth_password(string) auth_ha1(string,null) auth_proxy(string) expires(int) flags(int) reg_delay(int) contact_addr(string) socket(string,null)\n" + strings.Join(line, ":") + "\n",
	}
	for name, text := range tables {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return fill(`
loadmodule "db_text.so"
loadmodule "uac.so"
modparam("uac", "reg_db_url", "text://TABLES")
modparam("uac", "reg_contact_addr", "OWN")
modparam("uac", "reg_timer_interval", 1)
modparam("uac", "reg_retry_interval", 2)
modparam("uac", "restore_mode", "none")
modparam("uac", "auth_realm_avp", "$avp(realm)")
modparam("uac", "auth_username_avp", "$avp(user)")
modparam("uac", "auth_password_avp", "$avp(password)")

route[REGISTER] {
	sl_send_reply("403", "Forbidden");
}
route[INVITE] {
	if ($si == "PBXADDR") {
		$du = "sip:OUTSIDE:OUTPORT";
		return;
	}
	$ru = "sip:" + $rU + "@DOMAIN";
	$du = "sip:PBX";
	t_on_failure("PROVE");
}
failure_route[PROVE] {
	if (t_check_status("401|407")) {
		$avp(realm) = "DOMAIN";
		$avp(user) = "BRANCH";
		$avp(password) = "PASSWORD";
		if (uac_auth()) t_relay();
	}
}
`, outside, "TABLES", dir, "OWN", own.String(), "PBXADDR", pbx.Addr().String(), "PBX", pbx.String(), "DOMAIN", domain, "BRANCH", branch)
}

// fill puts values in place of the words of a text.
func fill(text string, outside netip.AddrPort, more ...string) string {
	words := append(more, "ACCOUNT", account, "REALM", realm, "PASSWORD", password, "OUTSIDE", outside.Addr().String(), "OUTPORT", fmt.Sprint(outside.Port()))
	return strings.NewReplacer(words...).Replace(text)
}
