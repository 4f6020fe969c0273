import { expect, it } from 'vitest';
import { suggestPassword } from './generate';
import { acceptable } from './password';

it('suggests passwords that keep the rules, each time another', () => {
  const all = Array.from({ length: 300 }, () => suggestPassword(['ada', 'lovelace']));
  expect(all.every((p) => p.length === 16 && acceptable(p, ['ada', 'lovelace']))).toBe(true);
  expect(new Set(all).size).toBe(300);
});
