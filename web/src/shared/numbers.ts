/** Extension numbers are texts of digits; those of one length compare as text. */

/** Whether the number lies in the range; ends have the same number of digits. */
export function inRange(number: string, first: string, last: string): boolean {
  return /^[0-9]+$/.test(number) && number.length === first.length && number >= first && number <= last;
}

/** How many numbers the range holds; 0 when it is none. */
export function rangeSize(first: string, last: string): number {
  if (!/^[0-9]{2,9}$/.test(first) || !/^[0-9]{2,9}$/.test(last) || first.length !== last.length) return 0;
  return Math.max(0, Number(last) - Number(first) + 1);
}

/** The number `steps` after the given one, with as many digits. */
export function stepFrom(number: string, steps: number): string {
  return String(Number(number) + steps).padStart(number.length, '0');
}

/** The lowest number of the range that is not taken, or empty. */
export function freeNumber(first: string, last: string, taken: ReadonlySet<string>): string {
  const size = rangeSize(first, last);
  for (let i = 0; i < size; i++) {
    const number = stepFrom(first, i);
    if (!taken.has(number)) return number;
  }
  return '';
}

export interface ListedExtension {
  number: string;
  display_name: string;
}

export type LineFault = { line: number; kind: 'number' | 'outside' | 'twice' | 'many'; number: string };

/** Reads "101 Ada Lovelace", one a line; separators may be spaces, tabs, commas or semicolons. */
export function parseList(text: string, first: string, last: string, limit: number): { list: ListedExtension[]; faults: LineFault[] } {
  const list: ListedExtension[] = [];
  const faults: LineFault[] = [];
  const seen = new Set<string>();
  text.split(/\r?\n/).forEach((raw, i) => {
    const line = raw.trim();
    if (line === '') return;
    const found = /^([0-9]+)(?:[\s,;]+(.*))?$/.exec(line);
    const number = found?.[1] ?? '';
    const fault = (kind: LineFault['kind']) => faults.push({ line: i + 1, kind, number });
    if (found === null) return void fault('number');
    if (!inRange(number, first, last)) return void fault('outside');
    if (seen.has(number)) return void fault('twice');
    if (list.length >= limit) return void fault('many');
    seen.add(number);
    list.push({ number, display_name: (found[2] ?? '').trim() });
  });
  return { list, faults };
}
