package debian

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"ringfence/appliance/boot"
	cloudinit "ringfence/cloud-init"
)

// mergedUserData is where cloud-init keeps the cloud-config of this instance,
// merged from all parts of its user-data, for root only.
const mergedUserData = "var/lib/cloud/instance/cloud-config.txt"

// TakeSeed gives the ringfence section of the user-data to pbxd, below root.
// Without one nothing is written. What is wrong with it is logged: the machine
// works on without.
func TakeSeed(root string, uid int, logger *slog.Logger) error {
	p := boot.Paths{Root: root}
	data, err := readBounded(root + "/" + mergedUserData)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading user-data: %w", err)
	}
	seed, problems := cloudinit.Parse(cloudinit.Documents{UserData: data})
	for _, problem := range problems {
		if problem.Warning {
			continue // for cloud-init's own modules
		}
		logger.Error("first-boot data", "problem", problem.String())
	}
	if seed.Answers == nil {
		return nil
	}
	text, err := json.Marshal(seed.Answers)
	if err != nil {
		return err
	}
	if err := boot.WriteFile(p.Run(boot.SeedFile), text, 0o600); err != nil {
		return err
	}
	if err := os.Lchown(p.Run(boot.SeedFile), uid, -1); err != nil {
		return fmt.Errorf("handing user-data over: %w", err)
	}
	return nil
}

// readBounded reads no more than a document may have, and a byte that shows
// that there was more.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, cloudinit.MaxDocument+1))
}
