import type { Call, LegQuality } from '../shared/api';
import { quality as texts } from '../texts/calls';

export type Grade = 'good' | 'fair' | 'bad';

/** What a mean opinion score means to people (ITU-T G.107 annex B); null: unknown. */
export function grade(mos: number): Grade | null {
  if (mos <= 0) return null;
  if (mos >= 4) return 'good';
  return mos >= 3.1 ? 'fair' : 'bad';
}

const lowest = (scores: readonly number[]) => scores.reduce((a, b) => (a === 0 || (b !== 0 && b < a) ? b : a), 0);

interface Legs {
  caller_leg: LegQuality;
  callee_leg: LegQuality;
}

/** The score of a call in its worst direction; 0: unknown. */
export function worst(call: Legs): number {
  return lowest([call.caller_leg.mos, call.caller_leg.to_mos, call.callee_leg.mos, call.callee_leg.to_mos]);
}

/** The same of the last seconds of a live call. */
export function latest(call: Call): number {
  const last = (l: LegQuality) => lowest([l.history.from.at(-1) ?? 0, l.history.to.at(-1) ?? 0]);
  return lowest([last(call.caller_leg), last(call.callee_leg)]);
}

/** A share of packets in words: "0.4 %". */
export function lostShare(lost: number, of: number): string {
  const percent = of > 0 ? (100 * lost) / of : 0;
  return percent > 0 && percent < 0.1 ? '< 0.1 %' : `${percent.toFixed(percent < 10 ? 1 : 0)} %`;
}

export function alarmText(alarm: string): { title: string; remedy: string } | undefined {
  return texts.alarms[alarm];
}
