import type { Call, CallRecord } from '../shared/api';
import { clock } from '../shared/format';
import { serverNow } from '../shared/time';
import type { Column } from '../shared/ui/DataTable';
import { State, type Tone } from '../shared/ui/State';
import { Elapsed, When } from '../shared/ui/Ticking';
import { calls, records } from '../texts/calls';
import { worst, latest } from './mos';
import { Party, partyText } from './Party';
import { CallQuality, RecordQuality, Sound } from './Quality';

const callTones: Record<Call['state'], Tone> = { trying: 'idle', ringing: 'warn', connected: 'ok', held: 'live' };

function CallState({ state }: { state: Call['state'] }) {
  return (
    <State tone={callTones[state]} pulse={state === 'ringing'}>
      {calls.states[state]}
    </State>
  );
}

/** The time that counts for people: since the answer, before that since dialling. */
const callSince = (c: Call) => c.answered_at ?? c.started_at;

export const callColumns: readonly Column<Call>[] = [
  { id: 'caller', header: calls.caller, value: (c) => partyText(c.caller), cell: (c) => <Party party={c.caller} /> },
  { id: 'callee', header: calls.callee, value: (c) => partyText(c.callee), cell: (c) => <Party party={c.callee} /> },
  { id: 'state', header: calls.state, value: (c) => calls.states[c.state], cell: (c) => <CallState state={c.state} /> },
  { id: 'duration', header: calls.duration, end: true, value: (c) => Math.max(0, Math.floor((serverNow().getTime() - Date.parse(callSince(c))) / 1000)), cell: (c) => <Elapsed from={callSince(c)} /> },
];

export const callDetailColumns: readonly Column<Call>[] = [
  ...callColumns,
  { id: 'quality', header: calls.quality, value: (c) => latest(c) || null, cell: (c) => <CallQuality call={c} /> },
  { id: 'sound', header: calls.sound, value: (c) => [c.caller_leg, c.callee_leg].map((l) => `${l.codec} ${l.suite}`.trim()).join(', '), cell: (c) => <Sound call={c} /> },
  { id: 'started', header: calls.started, value: (c) => c.started_at, cell: (c) => <When at={c.started_at} /> },
  { id: 'caller_source', header: calls.callerSource, value: (c) => c.caller.source, hidden: true },
  { id: 'callee_source', header: calls.calleeSource, value: (c) => c.callee.source, hidden: true },
];

const failures = new Set(['failed', 'unavailable', 'not_found', 'media_security', 'media_timeout', 'shutdown', 'trunks', 'limit']);

export function endReason(reason: string): string {
  return records.reasons[reason] ?? reason.replaceAll('_', ' ');
}

/** Whether it was answered, then why it ended. */
export function Result({ record }: { record: CallRecord }) {
  if (record.answered_at !== undefined) {
    const plain = record.end_reason === 'caller_hung_up' || record.end_reason === 'callee_hung_up' || record.end_reason === 'transferred';
    return <State tone={plain ? 'ok' : 'warn'}>{plain ? records.answered : endReason(record.end_reason)}</State>;
  }
  return <State tone={failures.has(record.end_reason) ? 'bad' : 'idle'}>{endReason(record.end_reason)}</State>;
}

export const recordColumns: readonly Column<CallRecord>[] = [
  { id: 'time', header: records.time, value: (r) => r.started_at, cell: (r) => <When at={r.started_at} /> },
  { id: 'caller', header: records.caller, value: (r) => partyText(r.caller), cell: (r) => <Party party={r.caller} /> },
  { id: 'callee', header: records.callee, value: (r) => partyText(r.callee), cell: (r) => <Party party={r.callee} /> },
  {
    id: 'result',
    header: records.result,
    value: (r) => (r.answered_at === undefined ? endReason(r.end_reason) : records.answered),
    cell: (r) => <Result record={r} />,
  },
  {
    id: 'duration',
    header: records.duration,
    end: true,
    value: (r) => (r.answered_at === undefined ? null : Math.round(r.duration_seconds)),
    cell: (r) => (r.answered_at === undefined ? '–' : clock(r.duration_seconds)),
  },
];

const rangFor = (r: CallRecord) =>
  r.rang_at === undefined ? null : Math.max(0, Math.round((Date.parse(r.answered_at ?? r.ended_at) - Date.parse(r.rang_at)) / 1000));

export const recordDetailColumns: readonly Column<CallRecord>[] = [
  ...recordColumns,
  { id: 'rang', header: records.rang, end: true, value: rangFor, cell: (r) => (rangFor(r) === null ? '–' : clock(rangFor(r)!)) },
  { id: 'mos', header: records.mos, value: (r) => worst(r) || null, cell: (r) => <RecordQuality record={r} /> },
  { id: 'code', header: records.code, end: true, value: (r) => r.status_code || null },
  { id: 'codec', header: records.codec, value: (r) => r.caller_leg.codec || r.callee_leg.codec, hidden: true },
  { id: 'encryption', header: records.encryption, value: (r) => [r.caller_leg.suite, r.callee_leg.suite].join(', ').replace(/^, $/, ''), hidden: true },
  { id: 'lost', header: records.lost, end: true, value: (r) => r.caller_leg.lost + r.callee_leg.lost, hidden: true },
  {
    id: 'jitter',
    header: records.jitter,
    end: true,
    value: (r) => Math.round(Math.max(r.caller_leg.jitter_ms, r.callee_leg.jitter_ms) * 10) / 10,
    hidden: true,
  },
  { id: 'id', header: records.id, value: (r) => r.id, cell: (r) => <span className="mono">{r.id}</span>, hidden: true },
];
