//go:build !linux

package pbx

import "errors"

func (o *Options) confine() (int, error) { return 0, errors.New("this system has no Landlock") }
