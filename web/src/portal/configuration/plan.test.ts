import { expect, it } from 'vitest';
import type { ConfigurationPlan } from '../../shared/api';
import { lineOf, removedTenants, same } from './plan';

const plan = (rev: number, ...objects: string[]): ConfigurationPlan => ({
  rev,
  more: false,
  changes: objects.map((object) => ({ verb: 'remove', object, line: 0, fields: [] })),
});

it('names the organisations that go, and nothing that is in one', () => {
  expect(removedTenants(plan(1, 'tenants[b.example]', 'tenants[a.example].extensions[101]', 'box.ports[web]'))).toEqual(['b.example']);
  const changed = plan(1, 'tenants[b.example]');
  changed.changes[0]!.verb = 'change';
  expect(removedTenants(changed)).toEqual([]);
});

it('takes plans for the same only if they do the same', () => {
  expect(same(plan(1, 'a'), plan(2, 'a'))).toBe(true);
  expect(same(plan(1, 'a'), plan(2, 'a', 'b'))).toBe(false);
  expect(same({ ...plan(1, 'a'), more: true }, { ...plan(2, 'a'), more: true })).toBe(false);
});

it('reads the line of a refusal', () => {
  expect(lineOf('yaml:12')).toBe(12);
  expect(lineOf('yaml')).toBe(0);
});
