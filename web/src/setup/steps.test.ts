import { expect, it } from 'vitest';
import type { Setup } from '../shared/api';
import { after, before, isComplete, resumeAt } from './steps';

function state(administrator: boolean, tenant: boolean, extensions: boolean): Setup {
  return {
    fingerprint: '',
    steps: [
      { id: 'administrator', done: administrator },
      { id: 'tenant', done: tenant },
      { id: 'extensions', done: extensions },
    ],
    suggestion: {
      administrator: '', domain: '', email: '', extension_first: '', extension_last: '',
      extensions: 0, first_name: '', hostname: '', last_name: '', tenant_name: '',
    },
  };
}

it.each([
  [false, false, false, 'welcome'],
  [true, false, false, 'tenant'],
  [true, true, false, 'extensions'],
  [true, true, true, 'review'],
  [false, true, true, 'administrator'],
] as const)('with %s %s %s goes on at %s', (a, t, e, want) => expect(resumeAt(state(a, t, e))).toBe(want));

it('is complete only with every step', () => {
  expect(isComplete(state(true, true, true))).toBe(true);
  expect(isComplete(state(true, true, false))).toBe(false);
});

it('has a first and a last step', () => {
  expect(before('welcome')).toBe('welcome');
  expect(after('review')).toBe('review');
  expect(after('administrator')).toBe('tenant');
});
