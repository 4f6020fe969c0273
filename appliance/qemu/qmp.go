package qemu

import (
	"encoding/json"
	"fmt"
	"net"
	"time"
)

// QMP runs one command of QEMU's machine protocol, such as system_powerdown or
// set_link, and returns its result.
func (m *Machine) QMP(command string, arguments any) (json.RawMessage, error) {
	c, err := net.DialTimeout("unix", m.qmp, 5*time.Second)
	if err != nil {
		return nil, fmt.Errorf("qmp %s: %w", command, err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	out, in := json.NewEncoder(c), json.NewDecoder(c)
	type message struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}
	var reply struct {
		Return json.RawMessage `json:"return"`
		Error  *struct{ Desc string }
	}
	var greeting json.RawMessage
	if err := in.Decode(&greeting); err != nil {
		return nil, fmt.Errorf("qmp greeting: %w", err)
	}
	for _, q := range []message{{Execute: "qmp_capabilities"}, {command, arguments}} {
		if err := out.Encode(q); err != nil {
			return nil, fmt.Errorf("qmp %s: %w", q.Execute, err)
		}
		for reply.Return = nil; reply.Return == nil && reply.Error == nil; {
			if err := in.Decode(&reply); err != nil {
				return nil, fmt.Errorf("qmp %s: %w", q.Execute, err)
			}
		}
		if reply.Error != nil {
			return nil, fmt.Errorf("qmp %s: %s", q.Execute, reply.Error.Desc)
		}
	}
	return reply.Return, nil
}
