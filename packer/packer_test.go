package packer

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// run runs packer without network access to its maker and without the user's
// settings.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	program, err := exec.LookPath("packer")
	if err != nil {
		t.Skip("packer is not installed (package packer)")
	}
	home := t.TempDir()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "PACKER_CONFIG_DIR="+home, "PACKER_CACHE_DIR="+home, "HOME="+home,
		"PACKER_NO_COLOR=1", "AWS_ACCESS_KEY_ID=AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY=example", "AWS_EC2_METADATA_DISABLED=true")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// accountFile is a service account key that opens nothing.
func accountFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key.json")
	text := `{"type":"service_account","project_id":"example","private_key_id":"x","private_key":"x","client_email":"x@example.iam.gserviceaccount.com","client_id":"1"}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func emptyFile(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// keyFile is an SSH key that opens nothing.
func keyFile(t *testing.T) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	path := emptyFile(t, "key")
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func variables(t *testing.T) map[string][]string {
	return map[string][]string{
		"amazon.pkr.hcl": {"bucket=example"},
		"google.pkr.hcl": {"project=example", "bucket=example", "account_file=" + accountFile(t)},
		"azure.pkr.hcl":  {"resource_group=example", "storage_account=example"},
		"debian.pkr.hcl": {"deb=" + emptyFile(t, "ringfence.deb"), "key=" + keyFile(t), "base=" + emptyFile(t, "base.qcow2"),
			"subscription=00000000-0000-0000-0000-000000000000", "account_file=" + accountFile(t)},
	}
}

func TestTemplatesValidate(t *testing.T) {
	t.Parallel()
	for template, vars := range variables(t) {
		t.Run(template, func(t *testing.T) {
			t.Parallel()
			args := []string{"validate"}
			for _, v := range vars {
				args = append(args, "-var", v)
			}
			if out, err := run(t, append(args, template)...); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			// Without its variables a template must not pass: that is how we
			// know that validation looks at anything.
			if out, err := run(t, "validate", template); err == nil {
				t.Errorf("validates without variables:\n%s", out)
			}
		})
	}
}

func TestEveryTemplateIsTested(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.pkr.hcl")
	if err != nil {
		t.Fatal(err)
	}
	known := variables(t)
	if len(files) != len(known) {
		t.Errorf("templates are %q, %d are tested", files, len(known))
	}
	for _, f := range files {
		if known[f] == nil {
			t.Errorf("%s is not tested", f)
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"access_key", "secret_key", "client_secret", "password"} {
			if strings.Contains(string(text), secret) {
				t.Errorf("%s mentions %s: credentials come from the environment", f, secret)
			}
		}
	}
}
