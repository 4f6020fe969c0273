package boot

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/landlock-lsm/go-landlock/landlock"

	cloudinit "ringfence/cloud-init"
	"ringfence/cloud-init/metadata"
	"ringfence/internal/confine"
)

// What the process that speaks with a cloud is asked to do.
const (
	askMetadata = "ask-metadata"
	reportReady = "report-ready"
)

// Limits of asking the metadata service. The machine waits for its network
// first: nobody in a cloud can reach a machine without one.
const (
	networkLimit = 30 * time.Second
	askLimit     = 8 * time.Second
	reportLimit  = 5 * time.Minute
	spare        = time.Second // until a process that should have ended is ended
)

// maxAnswer bounds what the process that asks hands over.
const maxAnswer = 2 << 20

// cloudAnswer is what a metadata service says, read.
type cloudAnswer struct {
	InstanceID, Hostname string
	Public               []metadata.Address
	SSHKeys              []string
	Answers              *cloudinit.Answers
	Problems             []cloudinit.Problem
	// Took is how long the service was asked, without the wait for a network.
	Took time.Duration
}

// SpeakWithCloud is the life of the process that speaks with a metadata
// service or with time servers, told by its arguments: what a stranger in the network says is read
// by a process without rights, and PID 1 gets to see values of a known form.
func SpeakWithCloud(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("init", flag.ContinueOnError)
	var s metadata.Service
	flags.StringVar(&s.Link, "link", "", "`address` of the metadata service, for tests")
	flags.StringVar(&s.Wire, "wire", "", "`address` of Azure's wire server, for tests")
	if len(args) > 0 && args[0] == askTime {
		return askServers(ctx, args[1:], out)
	}
	if len(args) < 2 {
		return errors.New("two words are needed: what to do and the cloud")
	}
	if err := flags.Parse(args[2:]); err != nil {
		return err
	}
	// BestEffort: an old kernel confines less. No file is needed at all.
	if err := landlock.V5.BestEffort().RestrictPaths(); err != nil {
		return fmt.Errorf("giving up files: %w", err)
	}
	if err := onlyTalk(); err != nil {
		return err
	}
	switch args[0] {
	case askMetadata:
		a, err := ask(ctx, s, metadata.Cloud(args[1]))
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(a)
	case reportReady:
		ctx, cancel := context.WithTimeout(ctx, reportLimit)
		defer cancel()
		return s.ReportReady(ctx)
	}
	return fmt.Errorf("%q is not known here", args[0])
}

// onlyTalk gives up, after files, all system calls but those of a program that
// speaks with others, and the copies of its memory.
func onlyTalk() error {
	if err := confine.Memory(); err != nil {
		return err
	}
	return confine.Filter{Rules: slices.Concat(confine.GoRuntime(), confine.ReadFiles(), confine.Sockets(confine.Unix, confine.Internet, confine.RouteLink))}.Load()
}

// ask waits for a network, asks the service, and reads what it says.
func ask(ctx context.Context, s metadata.Service, c metadata.Cloud) (a cloudAnswer, err error) {
	limited, cancel := context.WithTimeout(ctx, networkLimit)
	defer cancel()
	if err := s.WaitRoute(limited); err != nil {
		return a, err
	}
	limited, cancel = context.WithTimeout(ctx, askLimit)
	defer cancel()
	begin := time.Now()
	f, err := s.Read(limited, c)
	if err != nil {
		return a, err
	}
	return readFacts(f, time.Since(begin)), nil
}

func readFacts(f metadata.Facts, took time.Duration) cloudAnswer {
	var seed cloudinit.Seed
	bad := seed.AddSSHKeys(f.SSHKeys...)
	said, problems := cloudinit.Parse(cloudinit.Documents{UserData: f.UserData})
	bad += seed.AddSSHKeys(said.SSHKeys...)
	if bad > 0 {
		problems = append(problems, cloudinit.Problem{Document: "metadata", Key: "SSH keys", Reason: fmt.Sprintf("%d are none or too many", bad), Warning: true})
	}
	a := cloudAnswer{
		InstanceID: f.InstanceID, Hostname: said.Hostname, Public: f.Public,
		SSHKeys: seed.SSHKeys, Answers: said.Answers, Problems: problems, Took: took,
	}
	if a.Hostname == "" {
		a.Hostname = cloudinit.HostLabel(f.Hostname)
	}
	return a
}

// decodeAnswer reads what the process that asked handed over. It believes
// nothing that the process should have seen to.
func decodeAnswer(data []byte) (a cloudAnswer, err error) {
	if err := json.Unmarshal(data, &a); err != nil {
		return cloudAnswer{}, fmt.Errorf("reading what the metadata service said: %w", err)
	}
	if len(a.InstanceID) > maxInstanceID || !isPlain(a.InstanceID) {
		a.InstanceID = ""
	}
	if !ValidHostname(a.Hostname) {
		a.Hostname = ""
	}
	var seed cloudinit.Seed
	seed.AddSSHKeys(a.SSHKeys...)
	a.SSHKeys = seed.SSHKeys
	var public []metadata.Address
	for _, p := range a.Public {
		if len(public) < maxPublic && usable(p.Public) && (!p.Own.IsValid() || usable(p.Own)) {
			public = append(public, p)
		}
	}
	a.Public = public
	a.Problems = a.Problems[:min(len(a.Problems), maxNotices)]
	return a, nil
}

// Bounds of what is kept.
const (
	maxInstanceID = 253
	maxPublic     = 16
)

func usable(a netip.Addr) bool { return a.IsGlobalUnicast() && a.Zone() == "" && !a.Is4In6() }

// isPlain reports whether a text is printable ASCII.
func isPlain(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
