package jitter

import "time"

// meter follows how much later than the quickest packets the others come.
type meter struct {
	timed   bool
	stamp   uint32        // of the packet that media counts to
	media   time.Duration // unrolled RTP time of stamp
	quick   time.Duration // least transit of this window and of the last
	before  time.Duration
	changed time.Duration // when this window began
	peak    time.Duration // what most packets stay below
}

func (m *meter) reset() { *m = meter{peak: m.peak} }

// unroll is the RTP time of a timestamp as a duration.
func (m *meter) unroll(stamp uint32, clock int) time.Duration {
	return m.media + time.Duration(int64(int32(stamp-m.stamp))*int64(time.Second)/int64(clock))
}

// packet measures one. A sender whose clock drifts, or a route that changed,
// is followed: what was quick some seconds ago is forgotten.
func (m *meter) packet(stamp uint32, clock int, now time.Duration) {
	if !m.timed {
		*m = meter{timed: true, stamp: stamp, media: 0, quick: now, before: now, changed: now, peak: m.peak}
	}
	media := m.unroll(stamp, clock)
	if int32(stamp-m.stamp) > 0 {
		m.stamp, m.media = stamp, media
	}
	transit := now - media
	if now-m.changed > window {
		m.before, m.quick, m.changed = m.quick, transit, now
	}
	m.quick = min(m.quick, transit)
	m.lateness(transit - m.base())
}

// late measures a packet that came too late to be of use.
func (m *meter) late(stamp uint32, clock int, now time.Duration) {
	if m.timed {
		m.lateness(now - m.unroll(stamp, clock) - m.base())
	}
}

func (m *meter) lateness(late time.Duration) {
	if late > m.peak {
		m.peak = min(late, time.Second)
	} else {
		m.peak -= (m.peak - late) / decay
	}
}

// base is the transit of the quickest packets.
func (m *meter) base() time.Duration { return min(m.quick, m.before) }

// since is how long after its quickest arrival a timestamp is looked at.
func (m *meter) since(stamp uint32, clock int, now time.Duration) time.Duration {
	if !m.timed {
		return 0
	}
	return now - m.unroll(stamp, clock) - m.base()
}
