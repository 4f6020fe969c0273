package cloudinit

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of SSH keys.
const (
	MaxSSHKeys   = 32
	maxSSHKeyLen = 8 << 10
)

// CheckSSHKey reports whether a line is one public key as in an
// authorized_keys file (sshd(8)), without options: type, base64, comment. The
// type inside the key must be the one before it (RFC 4253 section 6.6).
func CheckSSHKey(line string) bool {
	if len(line) > maxSSHKeyLen || printable(line) != line {
		return false
	}
	kind, rest, _ := strings.Cut(line, " ")
	text, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	blob, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(blob) < 4 || !sshKind(kind) {
		return false
	}
	n := binary.BigEndian.Uint32(blob)
	return int(n) == len(kind) && len(blob) > 4+len(kind) && string(blob[4:4+len(kind)]) == kind
}

// sshKind reports whether a key's type is one of OpenSSH's.
func sshKind(kind string) bool {
	return slices.Contains([]string{
		"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
		"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
	}, kind)
}

// AddSSHKeys adds keys that are not there yet, and returns how many of them
// are none or too many.
func (s *Seed) AddSSHKeys(keys ...string) (refused int) {
	for _, k := range keys {
		switch k = strings.TrimSpace(k); {
		case slices.Contains(s.SSHKeys, k):
		case !CheckSSHKey(k) || len(s.SSHKeys) >= MaxSSHKeys:
			refused++
		default:
			s.SSHKeys = append(s.SSHKeys, k)
		}
	}
	return refused
}

// sshKeys reads a list of keys, one key, or names with a key each, the forms
// that are around. A key that is none is left out with a warning: it must not
// cost the rest of the document.
func (n node) sshKeys() []string {
	var found []node
	switch {
	case n.yaml.Value != "":
		found = []node{n}
	case n.yaml.Kind == yaml.SequenceNode:
		found = n.list(MaxSSHKeys)
	default:
		n.each(func(_ string, value node) { found = append(found, value) })
	}
	var s Seed
	for _, item := range found {
		if s.AddSSHKeys(item.yaml.Value) > 0 {
			n.d.add(item.yaml.Line, item.path, true, "is no SSH public key, or one too many")
		}
	}
	return s.SSHKeys
}
