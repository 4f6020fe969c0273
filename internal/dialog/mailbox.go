package dialog

import "sync"

// maxOffered bounds the messages of peers that wait in one mailbox.
const maxOffered = 64

// Mailbox runs functions one at a time, in the order they came in. It takes a
// goroutine only while there is something to run. The zero Mailbox is ready
// to use.
type Mailbox struct {
	// Panicked, if set, is told when a function panicked; it runs in the
	// mailbox.
	Panicked func(reason any)

	mu      sync.Mutex
	queue   []func()
	running bool
	offered int      // messages of peers in the queue
	into    *Mailbox // what took this one over
}

// root is the mailbox that runs what is put into m.
func (m *Mailbox) root() *Mailbox {
	for {
		m.mu.Lock()
		next := m.into
		if next == nil {
			return m // locked
		}
		m.mu.Unlock()
		m = next
	}
}

// Join makes one mailbox of two, for calls whose legs change partners: what is
// and will be put into from runs in into, after then. Call it in from's
// mailbox, as the last thing the function does.
func (y *Layer) Join(from, into *Mailbox, then func()) {
	y.joining.Lock()
	defer y.joining.Unlock()
	f := from.root()
	f.mu.Unlock()
	t := into.root()
	t.mu.Unlock()
	if f == t {
		f.Post(then)
		return
	}
	f.mu.Lock()
	queue, offered := f.queue, f.offered
	f.queue, f.offered, f.into = nil, 0, t
	t.mu.Lock()
	f.mu.Unlock()
	t.add(then)
	t.offered += offered
	for _, g := range queue {
		t.add(g)
	}
	t.mu.Unlock()
}

// Joined reports whether what is put into the two runs one at a time, since a
// Join or because they are the same.
func (m *Mailbox) Joined(o *Mailbox) bool {
	a := m.root()
	a.mu.Unlock()
	b := o.root()
	b.mu.Unlock()
	return a == b
}

// Post adds f. It never blocks and never refuses: what the program itself has
// to do must not be lost.
func (m *Mailbox) Post(f func()) {
	m = m.root()
	defer m.mu.Unlock()
	m.add(f)
}

// Offer adds what a peer asked for, unless too much of that kind waits already.
func (m *Mailbox) Offer(f func()) bool {
	m = m.root()
	defer m.mu.Unlock()
	if m.offered >= maxOffered {
		return false
	}
	m.offered++
	m.add(func() {
		own := m.root() // another one, if m was taken over meanwhile
		own.offered--
		own.mu.Unlock()
		f()
	})
	return true
}

func (m *Mailbox) add(f func()) {
	m.queue = append(m.queue, f)
	if !m.running {
		m.running = true
		go m.run()
	}
}

func (m *Mailbox) run() {
	for {
		m.mu.Lock()
		if len(m.queue) == 0 {
			m.queue = nil
			m.running = false
			m.mu.Unlock()
			return
		}
		f := m.queue[0]
		m.queue[0] = nil
		m.queue = m.queue[1:]
		m.mu.Unlock()
		m.call(f)
	}
}

func (m *Mailbox) call(f func()) {
	defer func() {
		if r := recover(); r != nil {
			if m.Panicked == nil {
				panic(r)
			}
			m.Panicked(r)
		}
	}()
	f()
}
