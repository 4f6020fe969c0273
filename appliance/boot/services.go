package boot

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"ringfence/appliance/boot/supervise"
)

// The services, in the order of their start.
const (
	ServiceFence  = "fenced"
	ServiceKeeper = "sysd"
	ServicePBX    = "pbxd"
	ServiceShell  = "opsh"
)

// Programs is the folder of the services' programs in the root file system.
const Programs = "/user/"

// services are the programs of the appliance and what each may do.
func (p Paths) services() []supervise.Service {
	env := []string{"PATH=/nonexistent", "HOME=/", "TZ=UTC"}
	noFiles := func(n uint64) supervise.Limit { return supervise.Limit{Resource: unix.RLIMIT_NOFILE, Value: n} }
	noCore := supervise.Limit{Resource: unix.RLIMIT_CORE, Value: 0}
	return []supervise.Service{
		{
			Name: ServiceFence, Path: Programs + ServiceFence,
			Args: []string{
				"-state", p.Perm("fenced"), "-run", p.Run(""), "-network", p.Run(NetworkFile), "-manage-network",
				"-uid", fmt.Sprintf("%d,%d", UserRoot, UserPBX),
			}, Env: env,
			UID: UserFence, GID: GroupRingfence,
			Ambient:  []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_NET_BIND_SERVICE},
			Limits:   []supervise.Limit{noFiles(1024), noCore},
			OOMScore: -800, Watchdog: 30 * time.Second,
		},
		{
			Name: ServiceKeeper, Path: Programs + ServiceKeeper,
			Args: []string{"-data", p.Perm("sysd"), "-run", p.Run("")}, Env: env,
			UID: UserRoot, GID: GroupRingfence,
			// Root without the network, without devices, without others'
			// processes but for the signal to PID 1.
			Bounding: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_BOOT, unix.CAP_SYS_TIME, unix.CAP_DAC_OVERRIDE, unix.CAP_CHOWN, unix.CAP_FOWNER, unix.CAP_KILL},
			Limits:   []supervise.Limit{noFiles(256), noCore},
			OOMScore: -800, Watchdog: 30 * time.Second,
		},
		{
			Name: ServicePBX, Path: Programs + ServicePBX,
			Args: []string{"-data", p.Perm("pbxd"), "-run", p.Run("")}, Env: env,
			UID: UserPBX, GID: GroupRingfence,
			Limits: []supervise.Limit{noFiles(131072), noCore},
			// When memory runs out it is the one to restart: it has the most,
			// and comes back in a second.
			OOMScore: 200, Watchdog: 30 * time.Second,
			StopTimeout: 15 * time.Second, // it ends its calls
		},
		{
			// It listens while pbxd says so and otherwise holds a few megabytes.
			Name: ServiceShell, Path: Programs + ServiceShell,
			Args: []string{"-data", p.Perm("opsh"), "-run", p.Run(""), "-cloud", p.Perm(SSHKeysFile)}, Env: append(slices.Clone(env), "GOMEMLIMIT=24MiB", "GOGC=50"),
			UID: UserShell, GID: GroupRingfence,
			Limits:   []supervise.Limit{noFiles(128), noCore},
			OOMScore: 600, Watchdog: 60 * time.Second,
		},
	}
}
