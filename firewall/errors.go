package firewall

import "errors"

var (
	// ErrRefused marks a request that can never succeed as it is.
	ErrRefused = errors.New("refused by the fence")
	// ErrUnavailable marks a request that the fence did not answer in time:
	// whether it was carried out is unknown.
	ErrUnavailable = errors.New("the fence does not answer")

	// errTampered says that another program changed our table.
	errTampered = errors.New("another program changed the packet filter")
)
