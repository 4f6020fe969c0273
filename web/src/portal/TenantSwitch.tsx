import { Select } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useRouter } from '@tanstack/react-router';
import type { Session } from '../shared/api';
import { holdTenant } from '../shared/api';
import { sessionQuery, tenantsQuery } from '../shared/queries';
import { tenants as texts } from '../texts/people';

/** Works in another organisation from now on: everything is read anew. */
export function useEnterTenant(): (id: number) => Promise<void> {
  const queries = useQueryClient();
  const router = useRouter();
  return async (id) => {
    holdTenant(String(id));
    await queries.fetchQuery({ ...sessionQuery, staleTime: 0 });
    await queries.resetQueries({ predicate: (q) => q.queryKey[0] !== 'session' });
    await router.invalidate();
  };
}

/** Which organisation an administrator of the box works in; nothing where there is one only. */
export function TenantSwitch({ session }: { session: Session }) {
  const list = useQuery(tenantsQuery);
  const enter = useEnterTenant();
  const items = list.data?.items ?? [];
  if (items.length < 2) return null;
  return (
    <Select
      size="xs"
      mx="sm"
      mb="xs"
      searchable
      aria-label={texts.working}
      data={items.map((t) => ({ value: String(t.id), label: t.name }))}
      value={String(session.tenant.id)}
      allowDeselect={false}
      onChange={(id) => id !== null && void enter(Number(id))}
    />
  );
}
