package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Users and the group of the services.
const (
	GroupRingfence = 1000
	UserPBX        = 1001
	UserFence      = 1002
	UserCloud      = 1003 // who speaks with the metadata service of a cloud
	UserShell      = 1004
	UserTime       = 1005 // who asks the time servers
	UserRoot       = 0
)

// Paths are the places of the system, below a root folder that is "/" outside
// tests.
type Paths struct{ Root string }

// Run is a file in the folder of sockets and of data for this boot.
func (p Paths) Run(name string) string { return filepath.Join(p.Root, "run/ringfence", name) }

// Perm is a file on the writable partition.
func (p Paths) Perm(name string) string { return filepath.Join(p.Root, "perm", name) }

// Keeper is a file in the folder of sysd, which also keeps what belongs to the
// machine as such.
func (p Paths) Keeper(name string) string { return p.Perm(filepath.Join("sysd", name)) }

// ESP is where the EFI system partition is mounted.
func (p Paths) ESP() string { return filepath.Join(p.Root, "run/esp") }

func (p Paths) proc(name string) string { return filepath.Join(p.Root, "proc", name) }
func (p Paths) sys(name string) string  { return filepath.Join(p.Root, "sys", name) }
func (p Paths) dev(name string) string  { return filepath.Join(p.Root, "dev", name) }

// Names of files that init and sysd share.
const (
	// StateFile in Run is the State of this boot, JSON.
	StateFile = "boot.json"
	// MachineIDFile in Run holds the machine's identifier, 32 hexadecimal
	// digits, readable by all.
	MachineIDFile = "machine-id"
	// HostnameFile in Keeper holds a host name that an operator set.
	HostnameFile = "hostname"
	// ResetFile in Keeper asks for a factory reset at the next boot.
	ResetFile = "factory-reset"
	// ClockFile in Keeper has the last known time as its time of change.
	ClockFile = "clock"
	// NetworkFile and SeedFile in Run are first-boot data for fenced and pbxd.
	NetworkFile = "network.json"
	SeedFile    = "seed.json"
	// ResolverFile in Run has the name servers, from fenced for everybody.
	ResolverFile = "resolv.conf"
	// TimeServersFile in Run has the time servers, from fenced.
	TimeServersFile = "time-servers.json"
	// SSHKeysFile in Perm has the SSH keys that a cloud or a seed gave the
	// machine, lines of an authorized_keys file without options. It is root's,
	// and written once for each machine; that SSH is on it does not say.
	SSHKeysFile = "ssh/authorized_keys"
	// NotifySocket in Run is where services report.
	NotifySocket = "notify"
)

// folder is a folder with an owner.
type folder struct {
	path     string
	uid, gid int
	mode     fs.FileMode
}

// folders are those of /perm and /run.
func (p Paths) folders() []folder {
	return []folder{
		// The services make their sockets here; sticky, so that none can
		// remove another's.
		{p.Run(""), UserRoot, GroupRingfence, 0o775 | fs.ModeSticky},
		{p.Perm("pbxd"), UserPBX, GroupRingfence, 0o700},
		{p.Perm("fenced"), UserFence, GroupRingfence, 0o700},
		{p.Perm("sysd"), UserRoot, UserRoot, 0o700},
		{p.Perm("opsh"), UserShell, GroupRingfence, 0o700},
		{p.Perm("log"), UserRoot, UserRoot, 0o700},
		{p.Perm("ssh"), UserRoot, UserRoot, 0o755},
	}
}

// makeFolders makes the folders and sets their owner and mode. It never follows
// a link in the last place: what stands there must be a folder.
func makeFolders(list []folder, chown func(path string, uid, gid int) error) error {
	for _, f := range list {
		if err := makeFolder(f, chown); err != nil {
			return fmt.Errorf("making folder %s: %w", f.path, err)
		}
	}
	return nil
}

func makeFolder(f folder, chown func(string, int, int) error) error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(f.path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(f.path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return errors.New("something else is in its place")
	}
	if err := chown(f.path, f.uid, f.gid); err != nil {
		return err
	}
	return os.Chmod(f.path, f.mode)
}

// WriteFile replaces a file so that it is the old or the new one after a power
// cut.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	return replaceFile(path, data, mode, -1, -1)
}

// replaceFile writes a file so that it is the old or the new one after a power
// cut, with the given owner and mode from the beginning.
func replaceFile(path string, data []byte, mode fs.FileMode, uid, gid int) error {
	// The folder may be one where others can make files: whatever stands in the
	// way goes, and a link is never followed (O_EXCL).
	if err := ignoreMissing(os.Remove(path + ".new")); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	tmp, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	_, err = tmp.Write(data)
	if uid >= 0 {
		err = errors.Join(err, tmp.Chown(uid, gid))
	}
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", path, err), ignoreMissing(os.Remove(path+".new")))
	}
	return syncFolder(filepath.Dir(path))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
