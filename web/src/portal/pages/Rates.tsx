import { Button, FileButton, Group, Select } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconCoins, IconDownload, IconUpload } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take } from '../../shared/api';
import { download } from '../../shared/csv';
import { asProblem } from '../../shared/problems';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Page, Panel } from '../../shared/ui/Page';
import { rates as texts } from '../../texts/routing';
import { ratesQuery, trunksQuery, type Rate, type Trunk } from '../routing/queries';

export function Rates() {
  const trunks = useQuery(trunksQuery).data;
  const [chosen, setChosen] = useState<string | null>(null);
  const trunk = trunks?.find((t) => String(t.id) === chosen) ?? trunks?.[0];
  return (
    <Page title={texts.title} lead={texts.lead}>
      {trunk ? (
        <List key={trunk.id} trunk={trunk} trunks={trunks!} choose={setChosen} />
      ) : (
        <Panel>
          <Empty icon={<IconCoins size={22} />} title={texts.none}>
            {texts.noTrunk}
          </Empty>
        </Panel>
      )}
    </Page>
  );
}

function List({ trunk, trunks, choose }: { trunk: Trunk; trunks: readonly Trunk[]; choose: (id: string | null) => void }) {
  const queries = useQueryClient();
  const query = useQuery(ratesQuery(trunk.id));
  const path = { params: { path: { trunk: trunk.id } } };
  const columns: Column<Rate>[] = [
    { id: 'prefix', header: texts.prefix, value: (r) => r.prefix, cell: (r) => <span className="mono">+{r.prefix}</span> },
    { id: 'name', header: texts.name, grow: true, value: (r) => r.name ?? '' },
    { id: 'connect', header: texts.connect, end: true, value: (r) => r.connect ?? 0 },
    { id: 'minute', header: texts.minute(query.data?.currency ?? ''), end: true, value: (r) => r.minute ?? 0 },
    { id: 'steps', header: texts.steps, value: (r) => texts.step(r.first_seconds ?? 0, r.next_seconds ?? 0) },
  ];
  const save = useMutation({
    mutationFn: async () => download(`rates-${trunk.name}.csv`, 'text/csv', (await take(client.GET('/api/v1/trunks/{trunk}/rates/csv', { ...path, parseAs: 'text' }))) as unknown as string),
  });
  const add = useMutation({
    mutationFn: async (file: File) => take(client.POST('/api/v1/trunks/{trunk}/rates/csv', { ...path, body: { csv: await file.text() } })),
    onSuccess: async (done) => {
      notifications.show({ message: texts.imported(done.rates) });
      await queries.invalidateQueries({ queryKey: ratesQuery(trunk.id).queryKey });
    },
    onError: (thrown) => {
      const problem = asProblem(thrown);
      notifications.show({ color: 'red', autoClose: false, title: texts.refused, message: Object.values(problem.fields)[0] ?? problem.title });
    },
  });
  return (
    <>
        <Group gap="xs" wrap="wrap">
          {trunks.length > 1 && (
            <Select size="xs" aria-label={texts.trunk} allowDeselect={false} data={trunks.map((t) => ({ value: String(t.id), label: t.name }))} value={String(trunk.id)} onChange={choose} />
          )}
          <FileButton accept=".csv,text/csv" onChange={(file) => file && add.mutate(file)}>
            {(props) => (
              <Button size="compact-sm" variant="default" leftSection={<IconUpload size={15} />} loading={add.isPending} {...props}>
                {texts.import}
              </Button>
            )}
          </FileButton>
          <Button size="compact-sm" variant="default" leftSection={<IconDownload size={15} />} onClick={() => save.mutate()}>
            {texts.export}
          </Button>
        </Group>
    <Panel flush title={trunk.name}>
      <DataTable
        name="rates"
        noun={texts.noun}
        columns={columns}
        rows={query.data?.items}
        rowKey={(r) => r.prefix}
        problem={query.error && asProblem(query.error)}
        initialSort={{ id: 'prefix', desc: false }}
        empty={
          <Empty icon={<IconCoins size={22} />} title={texts.none}>
            {texts.noneText}
          </Empty>
        }
      />
    </Panel>
    </>
  );
}
