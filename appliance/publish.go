package appliance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// publish makes the other formats, computes sums and moves everything to Out
// under its final name, so that a name never stands for half a file.
func (b *builder) publish(ctx context.Context) (Result, error) {
	r := Result{Version: b.Version, SHA256: map[string]string{}}
	if err := copyWhole(b.kernel.Path, b.path("vmlinuz")); err != nil {
		return r, fmt.Errorf("copying the kernel: %w", err)
	}
	if err := punch(b.path("ringfence.raw")); err != nil {
		return r, fmt.Errorf("making the image sparse: %w", err)
	}
	c := Conversion{Raw: b.path("ringfence.raw"), Out: b.scratch, Version: b.Version, Time: b.stamp(), Progress: b.Progress}
	if err := Convert(ctx, c, b.Formats...); err != nil {
		return r, err
	}
	if err := b.writeBill(); err != nil {
		return r, err
	}
	names := []string{"root.squashfs", "vmlinuz", SBOMFile, Raw.Files()[0]}
	for _, f := range b.Formats {
		names = append(names, f.Files()...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if err := b.sums(names, &r); err != nil {
		return r, err
	}
	final := func(name string) string { return filepath.Join(b.Out, name) }
	for _, name := range names {
		if err := os.Rename(b.path(name), final(name)); err != nil {
			return r, fmt.Errorf("publishing the image: %w", err)
		}
	}
	r.Raw, r.Root, r.Kernel = final("ringfence.raw"), final("root.squashfs"), final("vmlinuz")
	for _, name := range names {
		if path := final(name); path != r.Raw && path != r.Root && path != r.Kernel {
			r.Others = append(r.Others, path)
		}
	}
	return r, b.writeLists(&r)
}

func (b *builder) sums(names []string, r *Result) error {
	const step = "computing checksums"
	for done, name := range names {
		b.Progress(step, done, len(names))
		sum, err := sumOf(b.path(name))
		if err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
		r.SHA256[name] = sum
	}
	b.Progress(step, len(names), len(names))
	return nil
}

// writeLists writes the manifest, the sums of everything, and the signature
// over the sums.
func (b *builder) writeLists(r *Result) error {
	b.manifest.Files = maps.Clone(r.SHA256)
	text, err := b.manifest.encode()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	r.SHA256[ManifestFile] = hex.EncodeToString(sum[:])
	var sums bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(r.SHA256)) {
		fmt.Fprintf(&sums, "%s  %s\n", r.SHA256[name], name)
	}
	r.Manifest = filepath.Join(b.Out, ManifestFile)
	return errors.Join(
		os.WriteFile(r.Manifest, text, 0o644),
		os.WriteFile(filepath.Join(b.Out, SumsFile), sums.Bytes(), 0o644),
		b.sign(sums.Bytes()),
	)
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(h, f, make([]byte, 1<<20)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// copyWhole copies a file and leaves holes where it holds zeros.
func copyWhole(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	return errors.Join(copySparse(out, in), out.Close())
}

// punch rewrites a file so that blocks of zeros take no room on the disk.
func punch(path string) error {
	if err := copyWhole(path, path+".sparse"); err != nil {
		return err
	}
	return os.Rename(path+".sparse", path)
}

func copySparse(out *os.File, in io.Reader) error {
	const block = 64 << 10
	buf, zeros := make([]byte, block), make([]byte, block)
	var at int64
	for {
		n, err := io.ReadFull(in, buf)
		if n > 0 && !bytes.Equal(buf[:n], zeros[:n]) {
			if _, err := out.WriteAt(buf[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return out.Truncate(at)
		}
		if err != nil {
			return err
		}
	}
}
