package quality

import "time"

// maxPoints bounds a Series; a longer call has wider points.
const maxPoints = 60

// Point is the quality over one step: MOS times 10, in what the peer sends and
// in what it gets. Zero is unknown.
type Point struct{ In, Out uint8 }

// Series is the quality of a leg over time. The zero Series is empty.
type Series struct {
	points []Point
	merged int // looks in one point
	fill   int // looks in the last point so far
	worst  Point
}

// Add notes one look, Interval after the one before.
func (s *Series) Add(p Point) {
	s.worst = s.worst.worse(p)
	if s.merged == 0 {
		s.merged = 1
	}
	if s.fill > 0 && s.fill < s.merged {
		last := &s.points[len(s.points)-1]
		*last = last.worse(p)
		s.fill++
		return
	}
	if len(s.points) == maxPoints {
		s.halve()
		s.Add(p)
		return
	}
	if s.points == nil {
		s.points = make([]Point, 0, maxPoints)
	}
	s.points = append(s.points, p)
	s.fill = 1
}

// halve merges points by twos; the worse of them counts.
func (s *Series) halve() {
	for i := range maxPoints / 2 {
		s.points[i] = s.points[2*i].worse(s.points[2*i+1])
	}
	s.points = s.points[:maxPoints/2]
	s.merged *= 2
	s.fill = s.merged
}

// Points is a copy of the series and how long each point is.
func (s *Series) Points() ([]Point, time.Duration) {
	return append([]Point(nil), s.points...), time.Duration(max(s.merged, 1)) * Interval
}

// Worst is the worst of all looks.
func (s *Series) Worst() Point { return s.worst }

// worse is the lower of both in each direction, where known.
func (p Point) worse(q Point) Point { return Point{lower(p.In, q.In), lower(p.Out, q.Out)} }

func lower(a, b uint8) uint8 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Tenths is a MOS as in a Point.
func Tenths(mos float64) uint8 { return uint8(mos*10 + 0.5) }
