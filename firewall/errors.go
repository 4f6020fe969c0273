package firewall

import "errors"

// errTampered says that another program changed our table.
var errTampered = errors.New("another program changed the packet filter")
