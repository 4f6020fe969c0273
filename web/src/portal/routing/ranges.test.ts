import { expect, test } from 'vitest';
import { clockText, holidayText, parseHoliday, parseRange, parseSpans, rangeText } from './ranges';

test('ranges come back as they were written', () => {
  for (const text of ['101', '120-139', '+4930120-+4930129']) expect(rangeText(parseRange(text))).toBe(text);
  expect(rangeText({ first: '101', last: '101' })).toBe('101');
});

test('spans of a day are read as people write them, and nothing else is', () => {
  expect(parseSpans('08:00-12:00, 13-17:30')).toEqual([{ from: 480, to: 720 }, { from: 780, to: 1050 }]);
  expect(parseSpans('')).toEqual([]);
  expect(parseSpans('0-24')).toEqual([{ from: 0, to: 1440 }]);
  for (const bad of ['8', '12:00-08:00', '08:00-25:00', 'morning']) expect(parseSpans(bad)).toBeNull();
  expect(clockText(545)).toBe('09:05');
});

test('holidays are read and written', () => {
  expect(parseHoliday('12-25 Christmas')).toEqual({ year: 0, month: 12, day: 25, name: 'Christmas' });
  expect(holidayText(parseHoliday('2026-12-24 Christmas Eve')!)).toBe('2026-12-24 Christmas Eve');
  expect(parseHoliday('Christmas')).toBeNull();
});
