import { expect, it } from 'vitest';
import type { Call, LegQuality } from '../shared/api';
import { alarmText, grade, latest, lostShare, worst } from './mos';

function leg(over: Partial<LegQuality>): LegQuality {
  return {
    codec: 'PCMA', suite: '', packets: 1, lost: 0, jitter_ms: 0, mos: 0, worst_mos: 0, sent: 1, reported: false, to_lost: 0, to_jitter_ms: 0,
    to_mos: 0, to_worst_mos: 0, rtt_ms: 0, dropped: 0, malformed: 0, forged: 0, history: { step_seconds: 5, from: [], to: [] }, ...over,
  };
}

it('grades a score', () => {
  expect([4.4, 4, 3.9, 3.1, 3, 1, 0].map(grade)).toEqual(['good', 'good', 'fair', 'fair', 'bad', 'bad', null]);
});

it('takes the worst direction that is known', () => {
  expect(worst({ caller_leg: leg({ mos: 4.3 }), callee_leg: leg({ mos: 4.2, to_mos: 2.5 }) })).toBe(2.5);
  expect(worst({ caller_leg: leg({}), callee_leg: leg({}) })).toBe(0);
});

it('takes the last seconds of a live call', () => {
  const party = { name: '', number: '1', source: '' };
  const call: Call = {
    id: 'x', state: 'connected', caller: party, callee: party, direction: 'internal',
    route: { dialled: '101', sent: '', caller_id: '', in_trunk: 0, did: '', out_trunk: 0, class: '', account: '', emergency: false }, started_at: '', alarm: '',
    caller_leg: leg({ history: { step_seconds: 5, from: [1.2, 4.1], to: [0, 0] } }),
    callee_leg: leg({ history: { step_seconds: 5, from: [4.4, 4.4], to: [4.4, 3.9] } }),
  };
  expect(latest(call)).toBe(3.9);
  expect(latest({ ...call, caller_leg: leg({}), callee_leg: leg({}) })).toBe(0);
});

it('tells small losses', () => {
  expect([lostShare(1, 100_000), lostShare(4, 1000), lostShare(200, 1000), lostShare(0, 0)]).toEqual(['< 0.1 %', '0.4 %', '20 %', '0.0 %']);
});

it('has words for each alarm', () => {
  expect(alarmText('one_way_audio')?.title).toBeTruthy();
  expect(alarmText('bad_quality')?.title).toBeTruthy();
  expect(alarmText('')).toBeUndefined();
});
