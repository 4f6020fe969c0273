import { Button, Group, Stack, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconShieldCheck } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { client, take, type Ban } from '../../shared/api';
import { span } from '../../shared/format';
import { asProblem } from '../../shared/problems';
import { addressRulesQuery, bansQuery } from '../../shared/queries';
import { useNow } from '../../shared/time';
import { Confirm } from '../../shared/ui/Confirm';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Panel } from '../../shared/ui/Page';
import { Ago } from '../../shared/ui/Ticking';
import { security as texts } from '../../texts/security';

function Left({ until }: { until: string }) {
  const now = useNow(1000);
  return <span className="tabular">{span((Date.parse(until) - now.getTime()) / 1000)}</span>;
}

function columns(): Column<Ban>[] {
  return [
    { id: 'source', header: texts.source, value: (b) => b.source, cell: (b) => <span className="mono">{b.source}</span> },
    { id: 'scope', header: texts.scope, value: (b) => texts.scopes[b.scope] },
    { id: 'reason', header: texts.reason, value: (b) => b.reason, grow: true },
    { id: 'count', header: texts.count, value: (b) => (b.count > 0 ? b.count : null), end: true },
    { id: 'agent', header: texts.agent, value: (b) => b.user_agent },
    { id: 'target', header: texts.target, value: (b) => b.target, cell: (b) => <span className="mono">{b.target}</span> },
    { id: 'since', header: texts.since, value: (b) => b.since, cell: (b) => (b.since === null ? '' : <Ago at={b.since} />) },
    { id: 'left', header: texts.left, value: (b) => b.until, end: true, cell: (b) => <Left until={b.until} /> },
  ];
}

/** Everybody who gets no answer now. */
export function Bans() {
  const queries = useQueryClient();
  const query = useQuery(bansQuery);
  const [allowing, setAllowing] = useState<Ban | null>(null);
  const shown = useMemo(columns, []);
  const again = () => queries.invalidateQueries({ queryKey: bansQuery.queryKey });
  const unban = useMutation({
    mutationFn: (b: Ban) => take(client.DELETE('/api/v1/security/bans', { params: { query: { source: b.source, scope: b.scope } } })),
    onSuccess: (_, b) => notifications.show({ message: texts.unbanned(b.source) }),
    onError: (thrown) => notifications.show({ color: 'red', message: asProblem(thrown).title }),
    onSettled: again,
  });
  return (
    <Panel flush>
      <DataTable
        name="bans"
        noun={texts.noun}
        columns={shown}
        rows={query.data?.items}
        rowKey={(b) => `${b.source} ${b.scope}`}
        problem={query.error && asProblem(query.error)}
        initialSort={{ id: 'since', desc: true }}
        rowActions={(b) => (
          <Group gap="xs" wrap="nowrap" justify="flex-end">
            <Button size="compact-sm" variant="default" onClick={() => unban.mutate(b)}>
              {texts.unban}
            </Button>
            <Button
              size="compact-sm"
              variant="default" onClick={() => setAllowing(b)}>
              {texts.allow}
            </Button>
          </Group>
        )}
        empty={
          <Empty icon={<IconShieldCheck size={22} />} title={texts.none}>
            {texts.noneText}
          </Empty>
        }
      />
      {allowing && <AllowSource source={allowing.source} onClose={() => setAllowing(null)} />}
    </Panel>
  );
}

/** Asks before a source is let in for good. */
export function AllowSource({ source, onClose }: { source: string; onClose: () => void }) {
  const queries = useQueryClient();
  const [note, setNote] = useState('');
  const allow = async () => {
    await take(client.POST('/api/v1/security/bans/allow', { body: { source, note } }));
    notifications.show({ message: texts.allowed(source) });
    await Promise.all([bansQuery, addressRulesQuery].map((q) => queries.invalidateQueries({ queryKey: q.queryKey })));
  };
  return (
    <Confirm
      opened
      title={texts.allowTitle(source)}
      effect={
        <Stack gap="sm">
          <div>{texts.allowEffect}</div>
          <TextInput label={texts.allowNote} value={note} maxLength={200} onChange={(e) => setNote(e.currentTarget.value)} />
        </Stack>
      }
      deed={texts.allow}
      run={allow}
      onClose={onClose}
    />
  );
}
