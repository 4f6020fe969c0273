//go:build !linux

package pbx

import "errors"

func (o *Options) confine() error { return errors.New("this system has no Landlock") }
