package qemu

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"golang.org/x/sys/unix"

	"ringfence/internal/ports"
)

// The addresses of the clouds' services, as they are in the clouds.
const (
	linkLocal  = "169.254.169.254"
	wireServer = "168.63.129.16"
	timeServer = "169.254.169.123" // AWS
	// clockAhead is by how much the clock of a machine at AWS is wrong.
	clockAhead = time.Hour
	// publicAddress is the one of the guest that a cloud says.
	publicAddress = "203.0.113.7"
)

// Cloud stands in for a cloud: the firmware's words, a DHCP server, and the
// metadata service at its real address.
type Cloud struct {
	Name string // as the guest says it
	// Firmware are QEMU's arguments.
	Firmware []string

	mu       sync.Mutex
	instance string
	userData string
	hostile  http.HandlerFunc // instead of the service, or nil
	asked    []Asked
	failing  int // how often the wire server refuses before it answers
}

// Asked is a request as it came.
type Asked struct {
	At           time.Time
	Method, Host string
	To           string // the address it came to
	URL          string
	Header       http.Header
	Body         string
}

// The clouds. The words are those of their hypervisors (SMBIOS types 1 and 3).
func aws() *Cloud {
	ahead := time.Now().UTC().Add(clockAhead).Format("2006-01-02T15:04:05")
	return &Cloud{Name: "AWS", instance: "i-0123456789abcdef0", Firmware: []string{"-smbios", "type=1,manufacturer=Amazon EC2,product=t3.small", "-rtc", "base=" + ahead}}
}

func azure() *Cloud {
	return &Cloud{Name: "Azure", instance: "02aab8a4-74ef-476e-8182-f6d2ba4166a6", failing: 2, Firmware: []string{
		"-smbios", "type=1,manufacturer=Microsoft Corporation,product=Virtual Machine", "-smbios", "type=3,asset=7783-7084-3265-9085-8269-3286-77",
	}}
}

func google() *Cloud {
	return &Cloud{Name: "Google Cloud", instance: "7520871235012936482", Firmware: []string{"-smbios", "type=1,manufacturer=Google,product=Google Compute Engine"}}
}

// InCloud boots in a cloud: no seed, an address by DHCP.
func InCloud(c *Cloud) Option {
	return func(o *options) {
		o.args = append(o.args, c.Firmware...)
		o.noSeed = true
		before := o.before
		o.before = func(vm *VM) {
			if before != nil {
				before(vm)
			}
			c.serve(vm)
		}
	}
}

// Set changes what the service says.
func (c *Cloud) Set(f func(*Cloud)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

// Asked returns the requests so far and forgets them.
func (c *Cloud) Asked() []Asked {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.asked
	c.asked = nil
	return all
}

// serve starts DHCP and the service inside the laboratory, until the test ends.
func (c *Cloud) serve(vm *VM) {
	vm.t.Helper()
	var dhcp *server4.Server
	var listeners []net.Listener
	var clock *net.UDPConn
	err := vm.NS.Do(func() (err error) {
		if err := vm.NS.IP("addr", "add", timeServer+"/32", "dev", tap); err != nil {
			return err
		}
		if clock, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(timeServer), Port: 123}); err != nil {
			return err
		}
		if dhcp, err = server4.NewServer(tap, &net.UDPAddr{Port: int(ports.DHCPv4Server)}, lease); err != nil {
			return err
		}
		for _, a := range []string{linkLocal, wireServer} {
			if err := vm.NS.IP("addr", "add", a+"/32", "dev", tap); err != nil {
				return err
			}
			config := net.ListenConfig{}
			if a == linkLocal {
				config.Control = oneHop
			}
			config.SetMultipathTCP(false)
			l, err := config.Listen(context.Background(), "tcp", a+":80")
			if err != nil {
				return err
			}
			listeners = append(listeners, l)
		}
		return nil
	})
	if err != nil {
		vm.t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(c.answer), ReadHeaderTimeout: 10 * time.Second}
	var running sync.WaitGroup
	running.Go(func() { _ = dhcp.Serve() })
	running.Go(func() { tellTime(clock) })
	for _, l := range listeners {
		running.Go(func() { _ = s.Serve(l) })
	}
	vm.t.Cleanup(func() {
		_ = dhcp.Close()
		_ = s.Close()
		_ = clock.Close()
		running.Wait()
	})
}

// tellTime is an SNTP server with the right time, until its socket is closed.
func tellTime(conn *net.UDPConn) {
	in := make([]byte, 1024)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(in)
		if err != nil {
			return
		}
		if n < 48 {
			continue
		}
		out := make([]byte, 48)
		out[0], out[1] = 4<<3|4, 1  // version 4, mode server, stratum 1
		copy(out[24:32], in[40:48]) // RFC 5905 section 7.3: origin is the client's transmit
		now := uint64(time.Now().UnixNano())
		stamp := (now/1e9+2208988800)<<32 | (now%1e9)<<32/1e9
		for _, at := range []int{16, 32, 40} { // reference, receive, transmit
			binary.BigEndian.PutUint64(out[at:], stamp)
		}
		_, _ = conn.WriteToUDPAddrPort(out, from)
	}
}

// oneHop makes answers live for one hop, as those to a request for an IMDSv2
// token do: nobody behind the machine gets them.
func oneHop(_, _ string, c syscall.RawConn) error {
	var err error
	return errors.Join(c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, 1) }), err)
}

// lease gives the guest its address.
func lease(conn net.PacketConn, peer net.Addr, m *dhcpv4.DHCPv4) {
	kind := dhcpv4.MessageTypeAck
	if m.MessageType() == dhcpv4.MessageTypeDiscover {
		kind = dhcpv4.MessageTypeOffer
	}
	router := net.ParseIP(tester4)
	answer, err := dhcpv4.NewReplyFromRequest(m,
		dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(net.ParseIP(guest4)), dhcpv4.WithServerIP(router), dhcpv4.WithRouter(router),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(router)), dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithLeaseTime(3600))
	if err == nil {
		_, _ = conn.WriteTo(answer.ToBytes(), peer)
	}
}

// maxAsked bounds what is kept.
const maxAsked = 10_000

func (c *Cloud) answer(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	to, _, _ := net.SplitHostPort(r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
	c.mu.Lock()
	if len(c.asked) < maxAsked {
		c.asked = append(c.asked, Asked{time.Now(), r.Method, r.Host, to, r.URL.String(), r.Header.Clone(), string(body)})
	}
	hostile, instance, userData := c.hostile, c.instance, c.userData
	c.mu.Unlock()
	switch {
	case to == wireServer:
		c.wire(w, r)
	case hostile != nil:
		hostile(w, r)
	case c.Name == "AWS":
		answerAWS(w, r, instance, userData)
	case c.Name == "Azure":
		answerAzure(w, r, instance, userData)
	default:
		answerGoogle(w, r, instance, userData)
	}
}

const token = "AQAEAtoken=="

// answerAWS is IMDSv2.
func answerAWS(w http.ResponseWriter, r *http.Request, instance, userData string) {
	const headerTTL, header = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "X-Aws-Ec2-Metadata-Token"
	if r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" && r.Header.Get(headerTTL) != "" && r.Header.Get("X-Forwarded-For") == "" {
		w.Header().Set(headerTTL, r.Header.Get(headerTTL))
		fmt.Fprint(w, token)
		return
	}
	if r.Header.Get(header) != token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	answers := map[string]string{
		"meta-data/instance-id": instance, "meta-data/local-hostname": "pbx-aws.eu-central-1.compute.internal", "meta-data/local-ipv4": guest4,
		"meta-data/public-ipv4": publicAddress, "meta-data/public-keys/": "0=ada", "meta-data/public-keys/0/openssh-key": SSHKey, "user-data": userData,
	}
	text, ok := answers[strings.TrimPrefix(r.URL.Path, "/latest/")]
	if !ok || text == "" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	fmt.Fprint(w, text)
}

func answerAzure(w http.ResponseWriter, r *http.Request, instance, userData string) {
	switch {
	case r.Header.Get("Metadata") != "true" || r.URL.Query().Get("api-version") == "":
		w.WriteHeader(http.StatusBadRequest)
	case r.URL.Path == "/metadata/instance":
		fmt.Fprintf(w, `{"compute": {"vmId": %q, "name": "pbx-azure", "userData": %q, "publicKeys": [{"keyData": %q}]},
			"network": {"interface": [{"ipv4": {"ipAddress": [{"privateIpAddress": %q, "publicIpAddress": ""}]}, "ipv6": {"ipAddress": []}}]}}`,
			instance, base64.StdEncoding.EncodeToString([]byte(userData)), SSHKey+"\r\n", guest4)
	case r.URL.Path == "/metadata/loadbalancer":
		fmt.Fprintf(w, `{"loadbalancer": {"publicIpAddresses": [{"frontendIpAddress": %q, "privateIpAddress": %q}]}}`, publicAddress, guest4)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// wire is Azure's wire server: what a machine is to report, and its report.
func (c *Cloud) wire(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.failing--
	failing := c.failing >= 0
	c.mu.Unlock()
	switch {
	case failing:
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.Header.Get("X-Ms-Version") == "":
		w.WriteHeader(http.StatusBadRequest)
	case r.Method == http.MethodGet && r.URL.Query().Get("comp") == "goalstate":
		fmt.Fprint(w, `<?xml version="1.0" encoding="utf-8"?><GoalState><Version>2012-11-30</Version><Incarnation>3</Incarnation>
			<Container><ContainerId>container-1</ContainerId><RoleInstanceList><RoleInstance><InstanceId>role-1</InstanceId></RoleInstance></RoleInstanceList></Container></GoalState>`)
	case r.Method == http.MethodPost && r.URL.Query().Get("comp") == "health":
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func answerGoogle(w http.ResponseWriter, r *http.Request, instance, userData string) {
	if r.Header.Get("Metadata-Flavor") != "Google" || r.Header.Get("X-Forwarded-For") != "" || r.Host != "metadata.google.internal" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	w.Header().Set("Metadata-Flavor", "Google")
	fmt.Fprintf(w, `{"id": %s, "hostname": "pbx-google.c.project.internal", "attributes": {"user-data": %q, "ssh-keys": %q},
		"networkInterfaces": [{"ip": %q, "accessConfigs": [{"externalIp": %q}]}]}`, instance, userData, "ada:"+SSHKey, guest4, publicAddress)
}

// SSHKey is what the clouds give.
const SSHKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ada"

// find returns the requests with a method and a path.
func find(all []Asked, method, url string) []Asked {
	return slices.DeleteFunc(slices.Clone(all), func(a Asked) bool { return a.Method != method || !strings.HasPrefix(a.URL, url) })
}

// hostile are services nobody wants.
func hostile() map[string]http.HandlerFunc {
	flavor := func(w http.ResponseWriter) { w.Header().Set("Metadata-Flavor", "Google") }
	return map[string]http.HandlerFunc{
		"huge": func(w http.ResponseWriter, r *http.Request) {
			flavor(w)
			for block := make([]byte, 1<<16); r.Context().Err() == nil; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		},
		"slow": func(w http.ResponseWriter, r *http.Request) {
			flavor(w)
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(200 * time.Millisecond)
			}
		},
		"malformed": func(w http.ResponseWriter, _ *http.Request) {
			flavor(w)
			fmt.Fprint(w, `{"id": 7, "hostname": ["`+strings.Repeat("[", 100_000))
		},
		"redirecting": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+tester4+"/", http.StatusFound)
		},
	}
}
