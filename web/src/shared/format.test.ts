import { expect, it } from 'vitest';
import { ago, bytes, clock, fingerprint, span } from './format';

it.each([
  [0, '0:00'],
  [7.9, '0:07'],
  [754, '12:34'],
  [3723, '1:02:03'],
  [-4, '0:00'],
])('shows %d s as the clock %s', (s, want) => expect(clock(s)).toBe(want));

it.each([
  [48, '48 s'],
  [60, '1 min'],
  [7500, '2 h 5 min'],
  [7200, '2 h'],
  [273_600, '3 d 4 h'],
  [86_400, '1 d'],
])('shows %d s as the span %s', (s, want) => expect(span(s)).toBe(want));

it('says just now for what happened a moment ago, and for clocks that differ a little', () => {
  const now = new Date('2026-01-01T12:00:00Z');
  expect(ago(new Date('2026-01-01T11:59:58Z'), now)).toBe('just now');
  expect(ago(new Date('2026-01-01T12:00:03Z'), now)).toBe('just now');
  expect(ago(new Date('2026-01-01T11:57:00Z'), now)).toBe('3 min ago');
});

it.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.0 kB'],
  [1_234_567, '1.2 MB'],
  [512_000, '512 kB'],
])('shows %d bytes as %s', (n, want) => expect(bytes(n)).toBe(want));

it('writes fingerprints in groups of four whatever the source looked like', () => {
  expect(fingerprint('ab12cdef')).toEqual(['AB12', 'CDEF']);
  expect(fingerprint('AB:12:cd:ef')).toEqual(['AB12', 'CDEF']);
});
