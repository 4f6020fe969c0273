import type { CallRecord } from '../shared/api';

export interface Hours {
  /** Unix seconds at which each hour begins. */
  times: number[];
  answered: number[];
  missed: number[];
}

const hourMs = 3_600_000;

/** Calls by the hour they began in, for the last `hours` hours including this one. */
export function perHour(records: readonly CallRecord[], now: Date, hours = 24): Hours {
  const last = Math.floor(now.getTime() / hourMs) * hourMs;
  const first = last - (hours - 1) * hourMs;
  const times = Array.from({ length: hours }, (_, i) => (first + i * hourMs) / 1000);
  const answered = times.map(() => 0);
  const missed = times.map(() => 0);
  for (const r of records) {
    const hour = Math.floor((Date.parse(r.started_at) - first) / hourMs);
    if (hour < 0 || hour >= hours) continue;
    const list = r.answered_at === undefined ? missed : answered;
    list[hour]!++;
  }
  return { times, answered, missed };
}

export interface Day {
  calls: number;
  answered: number;
  talkSeconds: number;
}

/** Sums over the reader's calendar day. */
export function today(records: readonly CallRecord[], now: Date): Day {
  const day: Day = { calls: 0, answered: 0, talkSeconds: 0 };
  for (const r of records) {
    if (new Date(r.started_at).toDateString() !== now.toDateString()) continue;
    day.calls++;
    if (r.answered_at !== undefined) day.answered++;
    day.talkSeconds += r.duration_seconds;
  }
  return day;
}
