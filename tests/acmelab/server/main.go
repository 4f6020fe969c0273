// Command server is a certificate authority for tests, in a network namespace of
// its own: it prints the address of its directory once it answers, and ends with
// its standard input.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"ringfence/internal/certs"
	"ringfence/tests/acmelab"
)

func main() {
	address := flag.String("address", "", "own address")
	names := flag.String("names", "", "what every name leads to")
	port := flag.Int("http", 0, "port of challenges")
	delay := flag.Duration("delay", 0, "before a challenge is begun")
	dir := flag.String("dir", "", "where its certificate is kept")
	flag.Parse()
	if err := serve(*address, *names, *port, *delay, *dir); err != nil {
		log.Fatal(err)
	}
}

func serve(address, names string, port int, delay time.Duration, dir string) error {
	if err := acmelab.Begin(); err != nil {
		return err
	}
	leadsTo, err := netip.ParseAddr(names)
	if err != nil {
		return err
	}
	if _, err := certs.Open(certs.Config{Dir: dir, Names: []string{address}}); err != nil {
		return err
	}
	resolver, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return err
	}
	file := dir + "/" + certs.FileName
	handler := acmelab.Handler(acmelab.Options{HTTPPort: port, Names: leadsTo, Delay: delay}, resolver)
	go func() { log.Fatal(http.ServeTLS(l, handler, file, file)) }()
	fmt.Printf("https://%s%s\n", l.Addr(), acmelab.DirectoryPath)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
