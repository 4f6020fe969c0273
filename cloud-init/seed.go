package cloudinit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringfence/cloud-init/volume"
)

// The volume labels of a NoCloud seed and of a config drive, in any case.
const (
	seedLabel        = "cidata"
	configDriveLabel = "config-2"
)

// Bounds of the search for a seed.
const (
	maxDevices    = 64
	deviceTimeout = 3 * time.Second
)

// FindSeed looks for a seed on the block devices that the kernel knows, except those for which skip is true; root is the folder that holds
// sys and dev, "/" outside tests. A device that does not answer in time is
// left behind. Without a seed the Documents are empty and source is "".
func FindSeed(ctx context.Context, root string, skip func(device string) bool) (docs Documents, source string, problems []Problem) {
	devices, err := blockDevices(root)
	if err != nil {
		return docs, "", []Problem{{Document: "seed", Reason: err.Error()}}
	}
	ctx, cancel := context.WithTimeout(ctx, deviceTimeout)
	defer cancel()
	results := make([]chan result, len(devices))
	for i, d := range devices {
		results[i] = make(chan result, 1) // a late answer finds room and nobody waiting
		if skip != nil && skip(d.name) {
			results[i] <- result{}
			continue
		}
		go func() { results[i] <- readSeed(d) }()
	}
	for i, d := range devices {
		var r result
		select {
		case r = <-results[i]:
		case <-ctx.Done():
			problems = append(problems, Problem{Document: "seed", Key: d.path, Reason: "did not answer in time", Warning: true})
			continue
		}
		switch {
		case r.err != nil:
			problems = append(problems, Problem{Document: "seed", Key: d.path, Reason: r.err.Error()})
		case !r.found:
		case source != "":
			problems = append(problems, Problem{Document: "seed", Key: d.path, Reason: "is a second seed and was left out", Warning: true})
		default:
			docs, source = r.docs, sourceOf(r.docs)+" on "+d.path
		}
	}
	return docs, source, problems
}

func sourceOf(docs Documents) string {
	if docs.OpenStack {
		return "ConfigDrive"
	}
	return "NoCloud"
}

type blockDevice struct {
	name string // of the kernel, such as "vdb"
	path string
	size int64 // bytes
}

// blockDevices lists disks and partitions that can hold a seed.
func blockDevices(root string) ([]blockDevice, error) {
	dir := filepath.Join(root, "sys/class/block")
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing block devices: %w", err)
	}
	var out []blockDevice
	for _, e := range list {
		name := e.Name()
		if slices.ContainsFunc([]string{"loop", "ram", "zram", "dm-", "md", "nbd"}, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, name, "size"))
		if err != nil {
			continue
		}
		sectors, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil || sectors <= 0 || sectors > 1<<50 {
			continue
		}
		out = append(out, blockDevice{name, filepath.Join(root, "dev", name), sectors * 512})
	}
	return out[:min(len(out), maxDevices)], nil
}

type result struct {
	docs  Documents
	found bool
	err   error
}

func readSeed(d blockDevice) (r result) {
	f, err := os.Open(d.path)
	if err != nil {
		return r // an empty drive, or gone
	}
	defer f.Close()
	r.docs, r.found, r.err = ReadSeed(f, d.size)
	return r
}

// ReadSeed reads the documents from a volume of size bytes; found is false
// when it is no seed.
func ReadSeed(r io.ReaderAt, size int64) (docs Documents, found bool, err error) {
	v, err := volume.Open(r, size)
	if err != nil {
		return docs, false, nil // whatever it is, it does not call itself a seed
	}
	prefix, meta, user, network := "", MetaData, UserData, NetworkConfig
	switch {
	case strings.EqualFold(v.Label, seedLabel):
	case strings.EqualFold(v.Label, configDriveLabel):
		docs.OpenStack = true
		prefix, meta, user, network = "openstack/latest/", openStackMeta, openStackUser, openStackNetwork
	default:
		return docs, false, nil
	}
	for name, to := range map[string]*[]byte{meta: &docs.MetaData, user: &docs.UserData, network: &docs.NetworkConfig} {
		switch data, rerr := v.ReadFile(prefix+name, MaxDocument); {
		case rerr == nil:
			*to = data
		case !errors.Is(rerr, fs.ErrNotExist):
			err = rerr
		}
	}
	if err == nil && docs.MetaData == nil && docs.UserData == nil && docs.NetworkConfig == nil {
		err = fmt.Errorf("labelled %s but holds none of %s, %s and %s", v.Label, prefix+meta, user, network)
	}
	return docs, true, err
}

// WriteSeedISO writes a NoCloud seed as an ISO 9660 image. Equal documents
// give equal bytes.
func WriteSeedISO(w io.Writer, docs Documents) error {
	var files []volume.File
	for _, f := range []volume.File{{Name: MetaData, Data: docs.MetaData}, {Name: NetworkConfig, Data: docs.NetworkConfig}, {Name: UserData, Data: docs.UserData}} {
		if len(f.Data) > MaxDocument {
			return fmt.Errorf("writing seed: %s is larger than %d bytes", f.Name, MaxDocument)
		}
		if f.Data != nil {
			files = append(files, f)
		}
	}
	return volume.WriteISO(w, seedLabel, files)
}
