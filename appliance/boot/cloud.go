package boot

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"ringfence/appliance/boot/supervise"
	"ringfence/appliance/boot/timesync"
	cloudinit "ringfence/cloud-init"
	"ringfence/cloud-init/metadata"
)

// speaker is the process that speaks with a cloud: this program again, as a
// user who has no files, no group and no capability.
func speaker(args ...string) (supervise.Service, error) {
	path, err := os.Executable()
	if err != nil {
		return supervise.Service{}, err
	}
	limit := func(resource int, n uint64) supervise.Limit { return supervise.Limit{Resource: resource, Value: n} }
	return supervise.Service{
		Name: args[0], Path: path, Args: args, Env: []string{"PATH=/nonexistent", "HOME=/", "TZ=UTC"},
		UID: UserCloud, GID: UserCloud,
		Limits: []supervise.Limit{
			limit(unix.RLIMIT_NOFILE, 64), limit(unix.RLIMIT_CORE, 0), limit(unix.RLIMIT_FSIZE, 0), limit(unix.RLIMIT_CPU, 60),
		},
		OOMScore: 900,
	}, nil
}

// speakTime runs the process that asks time servers.
func (m *machine) speakTime(ctx context.Context, args ...string) ([]byte, error) {
	s, err := speaker(args...)
	if err != nil {
		return nil, err
	}
	s.UID, s.GID = UserTime, UserTime
	return m.exec.Run(ctx, s, timesync.MaxAnswer, func(line string) { m.journal.Line(s.Name, line) })
}

// speak runs the process that speaks with a cloud.
func (m *machine) speak(ctx context.Context, args ...string) ([]byte, error) {
	s, err := speaker(args...)
	if err != nil {
		return nil, err
	}
	return m.exec.Run(ctx, s, maxAnswer, func(line string) { m.journal.Line(s.Name, line) })
}

// cloud asks the metadata service of the cloud that the firmware names, and
// returns what it says as a seed. A seed that came on a disk counts alone.
//
// Where the firmware names no cloud, nothing is sent: on a network without
// one the address belongs to whoever takes it, who would then say which
// machine this is and who its administrator.
func (m *machine) cloud(ctx context.Context, seed cloudinit.Seed) (cloudinit.Seed, *cloudAnswer, []cloudinit.Problem) {
	c := metadata.Detect(m.paths.Root)
	m.update(func(s *State) { s.Cloud = c })
	if c == "" || seed.Source != "" {
		return seed, nil, nil
	}
	if err := m.startService(ServiceFence); err != nil { // who brings the network up
		return seed, nil, []cloudinit.Problem{{Document: "metadata service", Reason: err.Error()}}
	}
	m.say("Asking the metadata service of " + string(c) + " ...")
	defer m.say(starting)
	limited, cancel := context.WithTimeout(ctx, networkLimit+askLimit+spare)
	defer cancel()
	begin := time.Now()
	data, err := m.askCloud(limited, askMetadata, string(c))
	if err == nil {
		var a cloudAnswer
		if a, err = decodeAnswer(data); err == nil {
			m.logger.Info("metadata service answered", "cloud", string(c), "instance", a.InstanceID, "took", a.Took.Round(time.Millisecond), "with_network", time.Since(begin).Round(time.Millisecond))
			return cloudinit.Seed{
				Source: "metadata service of " + string(c), InstanceID: a.InstanceID, Hostname: a.Hostname, Answers: a.Answers, SSHKeys: a.SSHKeys,
			}, &a, a.Problems
		}
	}
	m.logger.Warn("metadata service gave nothing", "cloud", string(c), "err", err, "with_network", time.Since(begin).Round(time.Millisecond))
	return seed, nil, []cloudinit.Problem{{Document: "metadata service", Key: string(c), Reason: "gave nothing that can be used; the log says why"}}
}

// remember writes down what a cloud or a seed said, for boots at which it
// says nothing, and completes id by what was written down before.
func (p Paths) remember(id *identity, seed cloudinit.Seed, said *cloudAnswer) error {
	before := *id
	if ValidHostname(seed.Hostname) {
		id.Hostname = seed.Hostname
	}
	if said != nil {
		id.Public = said.Public
	}
	if id.Hostname == before.Hostname && slices.Equal(id.Public, before.Public) {
		return nil
	}
	return p.saveIdentity(*id)
}

// keepSSHKeys writes the keys of a seed down, once for each machine: what an
// operator makes of the file later stays. A copied disk loses the keys of
// those who ran the other machine.
func (p Paths) keepSSHKeys(keys []string, fresh bool) error {
	path := p.Perm(SSHKeysFile)
	if fresh {
		if err := ignoreMissing(os.Remove(path)); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(path); err == nil || len(keys) == 0 {
		return nil
	}
	var text []byte
	for _, k := range keys {
		text = append(append(text, k...), '\n')
	}
	return replaceFile(path, text, 0o644, -1, -1)
}

// reportReady tells Azure that the machine is up; other clouds see it by
// themselves.
func (m *machine) reportReady(ctx context.Context) {
	m.mu.Lock()
	c := m.state.Cloud
	m.mu.Unlock()
	if c != metadata.Azure {
		return
	}
	limited, cancel := context.WithTimeout(ctx, reportLimit+spare)
	defer cancel()
	switch _, err := m.askCloud(limited, reportReady, string(c)); {
	case err == nil:
		m.logger.Info("Azure was told that this machine is up")
	case !errors.Is(err, context.Canceled):
		m.logger.Warn("Azure was not told that this machine is up", "err", err)
	}
}
