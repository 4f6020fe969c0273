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
	offered int // messages of peers in the queue
}

// Post adds f. It never blocks and never refuses: what the program itself has
// to do must not be lost.
func (m *Mailbox) Post(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(f)
}

// Offer adds what a peer asked for, unless too much of that kind waits already.
func (m *Mailbox) Offer(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.offered >= maxOffered {
		return false
	}
	m.offered++
	m.add(func() {
		m.mu.Lock()
		m.offered--
		m.mu.Unlock()
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
