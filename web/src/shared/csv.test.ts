import { expect, it } from 'vitest';
import { csv } from './csv';

it('quotes what needs quoting', () => {
  expect(csv(['a', 'b'], [['x,y', 'say "hi"'], [1, null]])).toBe('a,b\r\n"x,y","say ""hi"""\r\n1,\r\n');
});

it.each(['=1+1', '+49', '-2', '@sum', '\tx', '\rx'])('disarms %j', (text) => {
  const [, row] = csv(['a'], [[text]]).split('\r\n', 2);
  expect(row!.replace(/^"/, '').startsWith("'")).toBe(true);
});

it('leaves numbers alone', () => {
  expect(csv(['n'], [[-3]])).toBe('n\r\n-3\r\n');
});
