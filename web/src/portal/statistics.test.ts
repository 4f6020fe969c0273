import { expect, it } from 'vitest';
import type { CallRecord } from '../shared/api';
import { perHour, today } from './statistics';

const now = new Date('2026-03-01T12:20:00Z');

function record(started: string, talked = 0): CallRecord {
  const leg = {
    codec: '', suite: '', dropped: 0, malformed: 0, forged: 0, rtt_ms: 0, packets: 0, lost: 0, jitter_ms: 0, mos: 0, worst_mos: 0,
    sent: 0, reported: false, to_lost: 0, to_jitter_ms: 0, to_mos: 0, to_worst_mos: 0, history: { step_seconds: 5, from: [], to: [] },
  };
  const party = { name: '', number: '101', source: '' };
  return {
    id: started, direction: 'internal', caller: party, callee: party, ended_by: '', route: { dialled: '101', sent: '', caller_id: '', in_trunk: 0, did: '', out_trunk: 0, class: '', account: '', emergency: false }, caller_leg: leg, callee_leg: leg,
    started_at: started, ended_at: started, duration_seconds: talked, end_reason: 'x', status_code: 200,
    alarm: '', forwarded_by: [], transferred_by: '', previous_id: '', next_id: '',
    answered_at: talked > 0 ? started : undefined,
  };
}

it('puts each call into the hour it began in', () => {
  const h = perHour([record('2026-03-01T12:01:00Z', 60), record('2026-03-01T11:59:59Z'), record('2026-02-28T13:00:00Z', 5)], now);
  expect(h.times).toHaveLength(24);
  expect(h.times[0]).toBe(Date.parse('2026-02-28T13:00:00Z') / 1000);
  expect([h.answered[23], h.missed[23], h.missed[22], h.answered[0]]).toEqual([1, 0, 1, 1]);
});

it('leaves out what is older than a day or ahead of the clock', () => {
  const h = perHour([record('2026-02-28T12:59:59Z'), record('2026-03-01T13:00:00Z')], now);
  expect([...h.answered, ...h.missed].every((n) => n === 0)).toBe(true);
});

it('sums up the day', () => {
  const d = today([record('2026-03-01T09:00:00Z', 90), record('2026-03-01T10:00:00Z'), record('2026-02-28T23:00:00Z', 30)], now);
  expect(d).toEqual({ calls: 2, answered: 1, talkSeconds: 90 });
});
