import { describe, expect, it } from 'vitest';
import { freeNumber, inRange, parseList, rangeSize, stepFrom } from './numbers';

it.each([
  ['101', true],
  ['199', true],
  ['100', false],
  ['200', false],
  ['1010', false],
  ['11', false],
  ['', false],
  ['1a1', false],
])('%j in 101 to 199: %s', (number, want) => expect(inRange(number, '101', '199')).toBe(want));

it.each([
  ['101', '199', 99],
  ['0010', '0019', 10],
  ['199', '101', 0],
  ['99', '101', 0],
  ['1', '9', 0],
  ['', '', 0],
])('range %s to %s holds %d', (first, last, want) => expect(rangeSize(first, last)).toBe(want));

it('keeps leading zeros', () => expect(stepFrom('0099', 1)).toBe('0100'));

it('finds the lowest free number', () => {
  expect(freeNumber('101', '103', new Set(['101', '103']))).toBe('102');
  expect(freeNumber('101', '102', new Set(['101', '102']))).toBe('');
});

describe('lists', () => {
  const parse = (text: string, limit = 500) => parseList(text, '101', '199', limit);

  it('takes number and name with any separator', () => {
    expect(parse('101 Ada Lovelace\r\n102;Reception\n103,Workshop, back\n\n104').list).toEqual([
      { number: '101', display_name: 'Ada Lovelace' },
      { number: '102', display_name: 'Reception' },
      { number: '103', display_name: 'Workshop, back' },
      { number: '104', display_name: '' },
    ]);
  });

  it('names the line of each fault', () => {
    expect(parse('Ada 101\n500 Bob\n\n102\n102 again').faults.map((f) => [f.line, f.kind])).toEqual([
      [1, 'number'],
      [2, 'outside'],
      [5, 'twice'],
    ]);
  });

  it('has an end', () => {
    const { list, faults } = parse('101\n102\n103', 2);
    expect(list).toHaveLength(2);
    expect(faults).toEqual([{ line: 3, kind: 'many', number: '103' }]);
  });
});
