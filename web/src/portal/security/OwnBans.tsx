import { Button, Group, Stack } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { client, take, type OwnBan } from '../../shared/api';
import { span } from '../../shared/format';
import { asProblem } from '../../shared/problems';
import { bansQuery, ownBansQuery } from '../../shared/queries';
import { useNow } from '../../shared/time';
import { Notice } from '../../shared/ui/Notice';
import { ownBans as texts } from '../../texts/security';

/** Tells whoever is logged in that the own address gets no answer elsewhere. */
export function OwnBans() {
  const queries = useQueryClient();
  const { data } = useQuery(ownBansQuery);
  const now = useNow(1000);
  const lift = useMutation({
    mutationFn: (b: OwnBan) => take(client.DELETE('/api/v1/security/bans', { params: { query: { source: b.source, scope: b.scope } } })),
    onSuccess: () => notifications.show({ message: texts.lifted }),
    onError: (thrown) => notifications.show({ color: 'red', message: asProblem(thrown).title }),
    onSettled: () => Promise.all([queries.invalidateQueries({ queryKey: ownBansQuery.queryKey }), queries.invalidateQueries({ queryKey: bansQuery.queryKey })]),
  });
  const bans = (data?.items ?? []).filter((b) => Date.parse(b.until) > now.getTime());
  if (!data || bans.length === 0) return null;
  return (
    <Stack gap="sm" mb="lg">
      {bans.map((b) => (
        <Notice key={b.scope} tone="warn" title={texts.title(data.address, texts.scopes[b.scope])}>
          <Group gap="sm">
            <span>{texts.why(b.reason, span((Date.parse(b.until) - now.getTime()) / 1000), data.may_lift)}</span>
            {data.may_lift && (
              <Button size="compact-sm" variant="default" loading={lift.isPending} onClick={() => lift.mutate(b)}>
                {texts.lift}
              </Button>
            )}
          </Group>
        </Notice>
      ))}
    </Stack>
  );
}
