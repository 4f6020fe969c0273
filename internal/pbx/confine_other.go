//go:build !linux

package pbx

func (p *PBX) confine() ([]string, error) {
	return []string{"this system cannot confine the PBX"}, nil
}
