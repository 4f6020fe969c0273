import type { NumberRange } from './queries';

/** A range as people write it: 101, or 120-139. */
export function rangeText(r: NumberRange): string {
  return r.last === undefined || r.last === '' || r.last === r.first ? r.first : `${r.first}-${r.last}`;
}

export function parseRange(text: string): NumberRange {
  const [first = '', last] = text.replace(/\s/g, '').split('-');
  return last === undefined ? { first } : { first, last };
}

/** Minutes after midnight as a clock shows them. */
export function clockText(minutes: number): string {
  return `${String(Math.floor(minutes / 60)).padStart(2, '0')}:${String(minutes % 60).padStart(2, '0')}`;
}

/** "08:00-12:00, 13:00-17:00" as spans, or null if it is none. */
export function parseSpans(text: string): { from: number; to: number }[] | null {
  if (text.trim() === '') return [];
  const spans = [];
  for (const part of text.split(',')) {
    const found = /^\s*(\d{1,2}):?(\d{2})?\s*[-–]\s*(\d{1,2}):?(\d{2})?\s*$/.exec(part);
    if (!found) return null;
    const [, h1, m1, h2, m2] = found;
    const span = { from: Number(h1) * 60 + Number(m1 ?? 0), to: Number(h2) * 60 + Number(m2 ?? 0) };
    if (span.to > 1440 || span.from >= span.to) return null;
    spans.push(span);
  }
  return spans;
}

/** One line of the list of holidays, or null if it is none. */
export function parseHoliday(line: string): { name: string; month: number; day: number; year: number } | null {
  const found = /^(?:(\d{4})-)?(\d{1,2})-(\d{1,2})\s*(.*)$/.exec(line.trim());
  if (!found) return null;
  return { year: Number(found[1] ?? 0), month: Number(found[2]), day: Number(found[3]), name: found[4] ?? '' };
}

export function holidayText(h: { name?: string; month: number; day: number; year?: number }): string {
  const two = (n: number) => String(n).padStart(2, '0');
  return `${h.year ? `${h.year}-` : ''}${two(h.month)}-${two(h.day)} ${h.name ?? ''}`.trim();
}
