// Package supervise starts services, keeps them running and knows how they
// are: the part of the image's init that on other systems is systemd's.
//
// A service speaks the sd_notify protocol, so that the same program runs under
// both: READY=1 when it serves, WATCHDOG=1 while it is well, STATUS=text for
// people. Any exit, with whatever status, is followed by a restart.
package supervise

import (
	"syscall"
	"time"
)

// Back-off between an exit and the next start, and how long a service has to
// run for its next failure to count as the first.
const (
	minBackOff = 100 * time.Millisecond
	maxBackOff = 5 * time.Second
	settled    = 10 * time.Second
)

// abortGrace is how long a service that does not answer may spend on writing
// its stacks after SIGABRT.
const abortGrace = 5 * time.Second

// Defaults of a Service's times.
const (
	DefaultStartTimeout = 90 * time.Second
	DefaultStopTimeout  = 10 * time.Second
)

// Service describes one program to keep running.
type Service struct {
	Name string // stable, for logs and people
	Path string
	Args []string // without the program's name
	Env  []string // whole environment but for the notify protocol's variables
	Dir  string   // working directory; empty is /

	// Who it runs as. Everything it may do beyond its user is in Ambient.
	UID, GID uint32
	// Ambient are capabilities it keeps although it is not root, by number.
	Ambient []uintptr
	// Bounding are capabilities that it could ever have; all others are
	// dropped for good. Nil is Ambient.
	Bounding []uintptr

	Limits   []Limit
	OOMScore int // -1000..1000; 0 leaves the default

	// Watchdog is the longest silence of a service that is ready; 0 for none.
	Watchdog time.Duration
	// StartTimeout bounds the time to READY=1, StopTimeout the time from
	// SIGTERM to the exit. 0 takes the default.
	StartTimeout, StopTimeout time.Duration
}

// Limit is one resource limit, soft and hard.
type Limit struct {
	Resource int // unix.RLIMIT_...
	Value    uint64
}

func (s Service) startTimeout() time.Duration { return orDefault(s.StartTimeout, DefaultStartTimeout) }
func (s Service) stopTimeout() time.Duration  { return orDefault(s.StopTimeout, DefaultStopTimeout) }

func orDefault(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}

// Phase is where a service is in its life.
type Phase string

// The phases.
const (
	Stopped  Phase = "stopped"
	Starting Phase = "starting"
	Ready    Phase = "ready"
	Waiting  Phase = "waiting" // for its next start
	Stopping Phase = "stopping"
)

// Status is how a service is.
type Status struct {
	Name     string
	Phase    Phase
	PID      int    // 0 while it does not run
	Text     string // what it last said with STATUS=, from the service: not trusted
	Restarts int
	LastExit string // how it last ended, empty if it never did
	Since    time.Time
}

// Process is a running program.
type Process interface {
	PID() int
	Signal(syscall.Signal) error
	// Wait returns how the program ended, in words.
	Wait() string
}

// Spawner starts programs. Lines of their output go to output, one call a
// line, until they end.
type Spawner interface {
	Spawn(s Service, output func(line string)) (Process, error)
}
