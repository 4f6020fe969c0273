package appliance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// publish computes sums, makes the other formats and moves everything to Out
// under its final name, so that a name never stands for half a file.
func (b *builder) publish(ctx context.Context) (Result, error) {
	names := map[string]*string{}
	r := Result{Version: b.Version, SHA256: map[string]string{}}
	names["ringfence.raw"], names["root.squashfs"], names["vmlinuz"] = &r.Raw, &r.Root, &r.Kernel
	if err := copyWhole(b.kernel.Path, b.path("vmlinuz")); err != nil {
		return r, fmt.Errorf("copying the kernel: %w", err)
	}
	if err := punch(b.path("ringfence.raw")); err != nil {
		return r, fmt.Errorf("making the image sparse: %w", err)
	}
	if slices.Contains(b.Formats, QCOW2) {
		b.Progress("converting to qcow2", 0, 1)
		if err := b.convert(ctx); err != nil {
			return r, err
		}
		b.Progress("converting to qcow2", 1, 1)
		names["ringfence.qcow2"] = &r.QCOW2
	}
	if err := b.sums(names, &r); err != nil {
		return r, err
	}
	for name, final := range names {
		*final = filepath.Join(b.Out, name)
		if err := os.Rename(b.path(name), *final); err != nil {
			return r, fmt.Errorf("publishing the image: %w", err)
		}
	}
	return r, b.writeLists(&r)
}

func (b *builder) convert(ctx context.Context) error {
	t := tools{home: b.scratch, time: b.stamp()}
	_, err := t.run(ctx, nil, "qemu-img", "convert", "-q", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zlib", b.path("ringfence.raw"), b.path("ringfence.qcow2"))
	if err != nil {
		return fmt.Errorf("converting to qcow2: %w", err)
	}
	return nil
}

func (b *builder) sums(names map[string]*string, r *Result) error {
	const step = "computing checksums"
	done := 0
	for name := range names {
		b.Progress(step, done, len(names))
		sum, err := sumOf(b.path(name))
		if err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
		r.SHA256[name] = sum
		done++
	}
	b.Progress(step, done, done)
	return nil
}

// writeLists writes the manifest and, in the form that sha256sum -c reads, the
// sums.
func (b *builder) writeLists(r *Result) error {
	b.manifest.Files = r.SHA256
	text, err := b.manifest.encode()
	if err != nil {
		return err
	}
	var lines []string
	for name, sum := range r.SHA256 {
		lines = append(lines, sum+"  "+name+"\n")
	}
	slices.SortFunc(lines, func(x, y string) int { return strings.Compare(x[66:], y[66:]) })
	r.Manifest = filepath.Join(b.Out, "manifest.json")
	return errors.Join(
		os.WriteFile(r.Manifest, text, 0o644),
		os.WriteFile(filepath.Join(b.Out, "SHA256SUMS"), []byte(strings.Join(lines, "")), 0o644),
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
