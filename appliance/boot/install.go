package boot

import (
	"bufio"
	"context"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ringfence/appliance/boot/console"
	"ringfence/appliance/boot/install"
	"ringfence/appliance/flash"
)

// otherDiskWait is how long a machine that was started from a stick is given
// to show another disk.
const otherDiskWait = 10 * time.Second

// fromStick reports whether the machine was started from an image that was
// written to a stick and never ran: it then installs, and must not change the
// stick. Once a system ran from a disk, that disk has identifiers of its own.
// On a machine without any other disk there is nothing to install on.
func (m *machine) fromStick(ctx context.Context, d systemDisk) (size int64, is bool) {
	table, err := d.table()
	if err != nil || !table.Fresh() {
		return 0, false
	}
	host := flash.Host{Root: m.paths.Root}
	for begin := time.Now(); ; {
		disks, err := host.Disks()
		if err != nil {
			return 0, false
		}
		stick := false
		for _, k := range disks {
			stick = stick || k.Name == d.name && (k.USB || k.Removable)
		}
		switch {
		case !stick:
			return 0, false
		case len(disks) > 1:
			return int64(table.Sectors) * 512, true
		case time.Since(begin) > otherDiskWait:
			m.notice("This system runs from the USB disk it was started from: the machine has no other to install on.")
			return 0, false
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return 0, false
		}
	}
}

// install has the dialog on every terminal, and reports whether the boot goes
// on, from the stick.
func (m *machine) install(ctx context.Context, d systemDisk, size int64) (goOn bool) {
	m.logger.Info("started from a stick, asking where to install", "disk", d.name)
	m.deadline.Store(0) // people take their time
	m.console.Hold()
	t := m.openTerminals(ctx)
	choice := install.Run(ctx, install.Options{
		Product: "Ringfence " + m.state.Version + ", installation", Host: flash.Host{Root: m.paths.Root}, Stick: d.name, Size: size,
		Out: t, Lines: t.lines, Stay: func() { _ = unix.Mlockall(unix.MCL_CURRENT) },
	})
	t.close()
	m.console.Release()
	switch choice {
	case install.Restart:
		m.ask(Reboot)
	case install.PowerOff:
		m.ask(PowerOff)
	case install.RunHere:
		m.deadline.Store(time.Now().Add(m.cmd.HealthTimeout + 2*downLimit).UnixNano())
		return true
	}
	return false
}

// terminals are all consoles as one, for a dialog.
type terminals struct {
	files []*os.File
	texts []chan string
	lines chan string
}

// maxTyped bounds a line that somebody types, in bytes.
const maxTyped = 128

// openTerminals opens the consoles for reading too. It is the only time that
// init reads from one.
func (m *machine) openTerminals(ctx context.Context) *terminals {
	t := &terminals{lines: make(chan string)}
	names := m.cmd.Consoles
	if len(names) == 0 {
		names = []string{"console"}
	}
	for _, name := range names {
		if name == "tty0" {
			name = "tty1"
		}
		f, err := os.OpenFile(m.paths.dev(name), os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			continue
		}
		texts := make(chan string, 256)
		t.files, t.texts = append(t.files, f), append(t.texts, texts)
		go func() { // a terminal that takes nothing holds nobody up
			for text := range texts {
				_, _ = io.WriteString(f, text)
			}
			_ = f.Close() // ends the reader
		}()
		go t.listen(ctx, f)
		if m.kind(name) == console.Display {
			texts <- "\x1b[0;97;40m\x1b[2J\x1b[H\x1b[?25h"
		}
	}
	return t
}

// listen passes on what is typed on one terminal.
func (t *terminals) listen(ctx context.Context, f io.Reader) {
	s := bufio.NewScanner(f)
	s.Buffer(make([]byte, maxTyped), maxTyped)
	for s.Scan() {
		select {
		case t.lines <- console.Printable(s.Text(), maxTyped):
		case <-ctx.Done():
			return
		}
	}
}

// Write shows text on every terminal.
func (t *terminals) Write(p []byte) (int, error) {
	for _, texts := range t.texts {
		select {
		case texts <- strings.Clone(string(p)):
		default: // it takes nothing
		}
	}
	return len(p), nil
}

func (t *terminals) close() {
	for _, texts := range t.texts {
		close(texts)
	}
}
