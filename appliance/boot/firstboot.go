package boot

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	cloudinit "ringfence/cloud-init"
)

// readSeed looks for first-boot data on every disk but the system's own.
func (p Paths) readSeed(ctx context.Context, own systemDisk) (cloudinit.Seed, []cloudinit.Problem) {
	docs, source, problems := cloudinit.FindSeed(ctx, p.Root, own.owns)
	seed, more := cloudinit.Parse(docs)
	seed.Source = source
	return seed, append(problems, more...)
}

// handOver writes what the seed says for fenced and pbxd. The files are in
// memory and made anew at each boot; without a seed there are none.
func (p Paths) handOver(seed cloudinit.Seed, hostname string, chown bool) (problems []cloudinit.Problem, err error) {
	owner := func(uid int) (int, int) {
		if chown {
			return uid, GroupRingfence
		}
		return -1, -1
	}
	if seed.Network != nil {
		cfg, found, ok := seed.Network.Config(hostname)
		problems = found
		if ok {
			data, merr := json.Marshal(cfg)
			uid, gid := owner(UserFence)
			err = errors.Join(err, merr, replaceFile(p.Run(NetworkFile), data, 0o600, uid, gid))
		}
	}
	if seed.Answers != nil {
		data, merr := json.Marshal(seed.Answers)
		uid, gid := owner(UserPBX)
		err = errors.Join(err, merr, replaceFile(p.Run(SeedFile), data, 0o600, uid, gid))
	}
	return problems, err
}

// forgetSeed removes the preset answers, which may hold passwords, once the
// set-up is done.
func (p Paths) forgetSeed() error {
	err := os.Remove(p.Run(SeedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
