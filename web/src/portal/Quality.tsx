import { Tooltip } from '@mantine/core';
import { IconLock, IconLockOpen } from '@tabler/icons-react';
import type { Call, CallRecord, LegQuality } from '../shared/api';
import { count } from '../shared/format';
import { Facts } from '../shared/ui/Facts';
import { Notice } from '../shared/ui/Notice';
import { State, type Tone } from '../shared/ui/State';
import { quality as texts } from '../texts/calls';
import { common } from '../texts/common';
import { alarmText, grade, latest, lostShare, worst, type Grade } from './mos';
import pages from './pages/pages.module.css';
import css from './Quality.module.css';

const tones: Record<Grade, Tone> = { good: 'ok', fair: 'warn', bad: 'bad' };

/** A mean opinion score as dot, word and number. */
export function MOS({ value }: { value: number }) {
  const g = grade(value);
  return g === null ? <span className="dimmed">–</span> : <State tone={tones[g]}>{`${texts.grades[g]} ${value.toFixed(1)}`}</State>;
}

/** How a live call sounds now, in its worst direction. */
export function CallQuality({ call }: { call: Call }) {
  if (call.alarm === 'one_way_audio') return <State tone="bad">{texts.oneWay}</State>;
  return <MOS value={latest(call)} />;
}

/** How a finished call sounded, in its worst direction. */
export function RecordQuality({ record }: { record: CallRecord }) {
  if (record.alarm === 'one_way_audio') return <State tone="bad">{texts.oneWay}</State>;
  return <MOS value={worst(record)} />;
}

/** Whether the sound of a leg is encrypted, and how. */
export function Protection({ suite }: { suite: string }) {
  const Icon = suite === '' ? IconLockOpen : IconLock;
  return (
    <span className={css.lock} data-open={suite === ''}>
      <Icon size={15} stroke={1.9} aria-hidden />
      {suite === '' ? texts.plain : texts.suites[suite] ?? suite}
    </span>
  );
}

/** Codecs of both legs, with a lock where both are encrypted. */
export function Sound({ call }: { call: Call }) {
  const legs = [call.caller_leg, call.callee_leg];
  const codecs = [...new Set(legs.map((l) => l.codec).filter((c) => c !== ''))];
  if (codecs.length === 0) return <span className="dimmed">–</span>;
  const open = legs.some((l) => l.suite === '');
  const Icon = open ? IconLockOpen : IconLock;
  const words = legs.map((l) => (l.suite === '' ? texts.plain : texts.suites[l.suite] ?? l.suite)).join(' / ');
  return (
    <Tooltip label={words}>
      <span className={css.lock} data-open={open}>
        <Icon size={15} stroke={1.9} aria-label={words} role="img" />
        {codecs.join(' / ')}
      </span>
    </Tooltip>
  );
}

/** The quality over the call, one bar a step, with the time it spans. */
function Strip({ scores, step, label }: { scores: readonly number[]; step: number; label: string }) {
  if (!scores.some((v) => v > 0)) return null;
  const width = 4;
  return (
    <svg className={css.strip} viewBox={`0 0 ${Math.max(scores.length, 12) * width} 24`} preserveAspectRatio="none" role="img" aria-label={label}>
      <title>{texts.span(label, scores.length * step)}</title>
      {scores.map((v, i) => {
        const height = v === 0 ? 2 : Math.max(4, ((v - 1) / 3.5) * 24);
        return <rect key={i} x={i * width} y={24 - height} width={width - 0.8} height={height} data-grade={grade(v) ?? 'unknown'} />;
      })}
    </svg>
  );
}

/** What was noticed first to be wrong with a call, if anything. */
export function AlarmNotice({ alarm }: { alarm: string }) {
  const text = alarmText(alarm);
  return text === undefined ? null : (
    <Notice tone="warn" title={text.title}>
      {text.remedy}
    </Notice>
  );
}

/** All that was measured between the PBX and one phone. */
function Leg({ who, leg }: { who: string; leg: LegQuality }) {
  if (leg.packets === 0 && leg.sent === 0) return <span className="dimmed">{texts.noMedia}</span>;
  const lost = (n: number, of: number) => (n === 0 ? '0' : `${count(n)} (${lostShare(n, of)})`);
  const few = (n: number) => (n === 0 ? undefined : count(n));
  return (
    <div className={css.leg}>
      <Facts
        items={[
          [texts.codec, leg.codec || common.none],
          [texts.protection, <Protection suite={leg.suite} />],
          [texts.rtt, leg.rtt_ms > 0 ? texts.ms(leg.rtt_ms) : undefined],
          [texts.dropped, few(leg.dropped)],
          [texts.forged, few(leg.forged)],
          [texts.malformed, few(leg.malformed)],
        ]}
      />
      <table className={css.ways}>
        <thead>
          <tr>
            <td />
            <th scope="col">{texts.from(who)}</th>
            <th scope="col">{texts.to(who)}</th>
          </tr>
        </thead>
        <tbody>
          <tr>
            <th scope="row">{texts.mos}</th>
            <td><MOS value={leg.mos} /></td>
            <td>{leg.reported ? <MOS value={leg.to_mos} /> : <span className="dimmed">{texts.notReported}</span>}</td>
          </tr>
          <tr>
            <th scope="row">{texts.worst}</th>
            <td><MOS value={leg.worst_mos} /></td>
            <td><MOS value={leg.to_worst_mos} /></td>
          </tr>
          <tr>
            <th scope="row">{texts.packets}</th>
            <td>{count(leg.packets)}</td>
            <td>{count(leg.sent)}</td>
          </tr>
          <tr>
            <th scope="row">{texts.lost}</th>
            <td>{lost(leg.lost, leg.packets + leg.lost)}</td>
            <td>{leg.reported ? lost(leg.to_lost, leg.sent) : '–'}</td>
          </tr>
          <tr>
            <th scope="row">{texts.jitter}</th>
            <td>{texts.ms(leg.jitter_ms)}</td>
            <td>{leg.reported ? texts.ms(leg.to_jitter_ms) : '–'}</td>
          </tr>
          <tr>
            <th scope="row">{texts.overTime}</th>
            <td><Strip scores={leg.history.from} step={leg.history.step_seconds} label={texts.stripFrom(who)} /></td>
            <td><Strip scores={leg.history.to} step={leg.history.step_seconds} label={texts.stripTo(who)} /></td>
          </tr>
        </tbody>
      </table>
    </div>
  );
}

/** What was measured between the PBX and each of the two phones. */
export function BothLegs({ call }: { call: Call | CallRecord }) {
  return (
    <>
      {([['caller', call.caller, call.caller_leg], ['callee', call.callee, call.callee_leg]] as const).map(([side, party, leg]) => (
        <section key={side} className={pages.section}>
          <h3>{texts.between(party.number)}</h3>
          <Leg who={party.number} leg={leg} />
        </section>
      ))}
    </>
  );
}
