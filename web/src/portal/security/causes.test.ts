import { expect, it } from 'vitest';
import { groupOf, stacked } from './causes';

const line = (name: string, ...values: number[]) => ({ name, total: values.reduce((a, b) => a + b, 0), values });

it('draws causes of one kind as one, and gaps as gaps', () => {
  const h = {
    step_seconds: 10,
    times: [0, 10, 20],
    known: [true, false, true],
    drops: [line('ban_sip', 1, 0, 2), line('ban_web', 3, 0, 4), line('level1_sip', 5, 0, 0), line('icmp', 0, 0, 0)],
    ports: [],
  };
  expect(stacked(h)).toEqual([
    { group: 'banned', total: 10, values: [4, null, 6] },
    { group: 'level', total: 5, values: [5, null, 0] },
  ]);
});

it('puts a cause it does not know with the others', () => {
  expect(groupOf('something_new')).toBe('other');
  expect(groupOf('flood_sip')).toBe('level');
});
