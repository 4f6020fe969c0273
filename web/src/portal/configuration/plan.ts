import { client, take, type ConfigurationPlan } from '../../shared/api';

/** Where a plan comes from: a document, or a revision that is kept. */
export type Source = { yaml: string } | { rev: number };

const withinSeconds = 60;

export function planOf(source: Source): Promise<ConfigurationPlan> {
  if ('yaml' in source) return take(client.POST('/api/v1/configuration/plan', { body: source }));
  return take(client.GET('/api/v1/configuration/history/{rev}/plan', { params: { path: source } }));
}

export function apply(source: Source, removeTenants: boolean): Promise<ConfigurationPlan> {
  const query = { confirm_seconds: withinSeconds };
  if ('yaml' in source) {
    return take(client.POST('/api/v1/configuration/apply', { params: { query }, body: { ...source, remove_tenants: removeTenants } }));
  }
  return take(client.POST('/api/v1/configuration/history/{rev}/restore', { params: { path: source, query: { ...query, remove_tenants: removeTenants } } }));
}

/** Whether two plans would do the same. */
export function same(a: ConfigurationPlan, b: ConfigurationPlan): boolean {
  return a.rev === b.rev || (!a.more && !b.more && JSON.stringify(a.changes) === JSON.stringify(b.changes));
}

/** Domains of the organisations that go with everything in them. */
export function removedTenants(plan: ConfigurationPlan): string[] {
  return plan.changes.flatMap(({ verb, object }) => {
    const found = verb === 'remove' ? /^tenants\[([^[\]]+)\]$/.exec(object) : null;
    return found ? [found[1]!] : [];
  });
}

/** The line of a document in the place of a refusal, body.yaml:12; 0 if it names none. */
export function lineOf(place: string): number {
  return Number(/^yaml:(\d+)$/.exec(place)?.[1] ?? 0);
}
