package pbx

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"

	"ringfence/internal/confine"
)

// confine gives up, for good and for every thread, what the PBX does not need:
// capabilities, if somebody started it with any, copies of its memory, files
// that are not its own, and system calls that it never makes. A kernel that
// cannot do one of them leaves a gap, which is returned for people to read.
func (p *PBX) confine() (gaps []string, err error) {
	if _, err := confine.Capabilities(); err != nil {
		return nil, err
	}
	if err := confine.Memory(); err != nil {
		return nil, err
	}
	version, err := p.opts.confineFiles()
	if err != nil {
		p.log.Warn("files are not confined", "err", err)
		gaps = append(gaps, "this kernel cannot keep the PBX from files that are not its own (Landlock): "+err.Error())
	} else {
		p.log.Info("files confined", "landlock", version)
	}
	if err := (confine.Filter{Rules: systemCalls(), Trap: p.opts.Strict}).Load(); err != nil {
		p.log.Warn("system calls are not filtered", "err", err)
		gaps = append(gaps, "this kernel cannot keep the PBX from system calls that it never makes (seccomp): "+err.Error())
	} else {
		p.log.Info("system calls filtered")
	}
	return gaps, nil
}

// systemCalls are those of a PBX in service. netlink tells the addresses of
// the host; changing them needs a capability.
func systemCalls() []confine.Rule {
	return slices.Concat(confine.GoRuntime(), confine.ReadFiles(), confine.WriteFiles(), confine.Sockets(confine.Unix, confine.Internet, confine.RouteLink))
}

// confineFiles leaves the PBX its data, the sockets of the run folder, and what
// the resolver and the network stack are read from.
// Ports are the packet filter's business: see docs/decisions/0019. An older
// kernel, such as Debian's, confines less; the version of its Landlock is
// returned. One without Landlock confines nothing, which is reported.
func (o *Options) confineFiles() (version int, err error) {
	if version, err = ll.LandlockGetABIVersion(); err != nil {
		return 0, fmt.Errorf("asking the kernel for Landlock: %w", err)
	}
	var others []string
	for _, dir := range []string{o.RunDir, filepath.Dir(o.FactsFile)} {
		if dir != "" && dir != "." {
			others = append(others, dir)
		}
	}
	err = landlock.V5.BestEffort().RestrictPaths(
		landlock.RWDirs(o.DataDir),
		landlock.RWDirs(others...).IgnoreIfMissing(), // with -dev there is no run folder
		landlock.RODirs("/etc", "/proc", "/sys/class/net", "/usr/share/zoneinfo").IgnoreIfMissing(),
		// Where /etc/resolv.conf leads to on other people's systems; it is
		// replaced by a rename.
		landlock.RODirs("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager").IgnoreIfMissing(),
		landlock.ROFiles("/tmp/resolv.conf", "/dev/urandom").IgnoreIfMissing(),
	)
	if err != nil {
		return 0, fmt.Errorf("confining the PBX to its files: %w", err)
	}
	// Signals to other processes, and sockets without a file.
	if err := landlock.V6.BestEffort().RestrictScoped(); err != nil {
		return 0, fmt.Errorf("confining the PBX to its processes: %w", err)
	}
	return version, nil
}
