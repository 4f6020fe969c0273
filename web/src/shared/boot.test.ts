// @vitest-environment jsdom
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';

const boot = readFileSync('public/boot.js', 'utf8');
type Rules = { createHTML: (text: string) => string | null };

let policies: Record<string, Rules>;
let systemIsDark: boolean;

beforeEach(() => {
  policies = {};
  systemIsDark = false;
  vi.stubGlobal('trustedTypes', { createPolicy: (name: string, rules: Rules) => (policies[name] = rules) });
  vi.stubGlobal('matchMedia', () => ({ matches: systemIsDark }));
  localStorage.clear();
});
afterEach(() => vi.unstubAllGlobals());

const run = () => new Function(boot)();

it('has one policy, which lets style text through and refuses markup, scripts and their addresses', () => {
  run();
  expect(Object.keys(policies)).toEqual(['default']);
  expect(Object.keys(policies.default!)).toEqual(['createHTML']);
  const { createHTML } = policies.default!;
  expect(createHTML(':root{--a:1px}@media (min-width:1em){a>b{c:d}}')).toMatch(/^:root/);
  for (const markup of ['<b>x</b>', 'text <img src=x>', '&lt;<', '<']) expect(createHTML(markup)).toBeNull();
});

it.each([
  [null, false, 'light'],
  [null, true, 'dark'],
  ['auto', true, 'dark'],
  ['light', true, 'light'],
  ['dark', false, 'dark'],
])('with %s chosen and a dark system %s the page starts %s', (chosen, dark, want) => {
  if (chosen !== null) localStorage.setItem('ringfence-color-scheme', chosen);
  systemIsDark = dark;
  run();
  expect(document.documentElement.getAttribute('data-mantine-color-scheme')).toBe(want);
});
