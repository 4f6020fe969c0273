package shell

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

// hostKeyName begins the host key's file name; the machine's id follows, so
// that a copy of a disk that became another machine gets a key of its own.
const hostKeyName = "host-ed25519-"

// HostKey reads the host key of machine from folder dir, or makes one and
// forgets those of other machines.
func HostKey(dir, machine string) (ssh.Signer, error) {
	path := filepath.Join(dir, hostKeyName+machine)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if text, err = makeHostKey(dir, path); err != nil {
			return nil, fmt.Errorf("making the host key: %w", err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the host key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("reading the host key: %w", err)
	}
	if signer.PublicKey().Type() != ssh.KeyAlgoED25519 {
		return nil, errors.New("reading the host key: it is no Ed25519 key")
	}
	return signer, nil
}

func makeHostKey(dir, path string) ([]byte, error) {
	old, err := filepath.Glob(filepath.Join(dir, hostKeyName+"*"))
	if err != nil {
		return nil, err
	}
	for _, o := range old {
		if err := os.Remove(o); err != nil {
			return nil, err
		}
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(block)
	return text, replaceFile(path, text)
}

// replaceFile writes a file of the owner alone that is there whole or not at
// all, also after a power cut.
func replaceFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
