import { Button, Select, TextInput } from '@mantine/core';
import { IconHash, IconPlus } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { notifications } from '@mantine/notifications';
import { useState } from 'react';
import { client, take } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Page, Panel } from '../../shared/ui/Page';
import { State } from '../../shared/ui/State';
import { numbers as texts, routing } from '../../texts/routing';
import { Editor } from '../routing/Editor';
import { didsQuery, trunksQuery, type DID } from '../routing/queries';
import { rangeText } from '../routing/ranges';

const columns: readonly Column<DID>[] = [
  { id: 'number', header: texts.number, grow: true, value: (d) => rangeText(d), cell: (d) => <span className="mono">{rangeText(d)}</span> },
  { id: 'trunk', header: texts.trunk, value: (d) => d.trunk_name },
  { id: 'rule', header: texts.rule, value: (d) => d.rule_name, cell: (d) => (d.rule === 0 ? <State tone="warn">{texts.noRule}</State> : d.rule_name) },
];

export function Numbers() {
  const queries = useQueryClient();
  const query = useQuery(didsQuery);
  const trunks = useQuery(trunksQuery).data ?? [];
  const [adding, setAdding] = useState(false);
  const remove = useMutation({
    mutationFn: (d: DID) => take(client.DELETE('/api/v1/dids', { params: { query: { trunk: d.trunk, first: d.first } } })),
    onSuccess: () => notifications.show({ message: texts.removed }),
    onError: (thrown) => notifications.show({ color: 'red', message: asProblem(thrown).title }),
    onSettled: () => Promise.all([didsQuery, trunksQuery].map((q) => queries.invalidateQueries({ queryKey: q.queryKey }))),
  });
  const add = (
    <Button leftSection={<IconPlus size={17} />} disabled={trunks.length === 0} onClick={() => setAdding(true)}>
      {texts.add}
    </Button>
  );
  return (
    <Page title={texts.title} lead={texts.lead} actions={add}>
      <Panel flush>
        <DataTable
          name="numbers"
          noun={texts.noun}
          columns={columns}
          rows={query.data}
          rowKey={(d) => `${d.trunk} ${d.first}`}
          problem={query.error && asProblem(query.error)}
          initialSort={{ id: 'number', desc: false }}
          rowActions={(d) => (
            <Button size="compact-sm" variant="default" onClick={() => remove.mutate(d)}>
              {routing.remove}
            </Button>
          )}
          empty={
            <Empty icon={<IconHash size={22} />} title={texts.none} action={add}>
              {texts.noneText}
            </Empty>
          }
        />
      </Panel>
      {adding && (
        <Editor
          title={texts.add}
          name={(v) => v.first}
          initial={{ first: '', last: '', trunk: trunks[0] ? String(trunks[0].id) : null }}
          stale={[didsQuery.queryKey, trunksQuery.queryKey]}
          save={(v) => take(client.POST('/api/v1/dids', { body: { first: v.first.trim(), ...(v.last.trim() === '' ? {} : { last: v.last.trim() }), trunk: Number(v.trunk) } }))}
          onClose={() => setAdding(false)}
        >
          {(form) => (
            <>
              <TextInput label={texts.first} placeholder="+49301234" data-autofocus {...form.getInputProps('first')} />
              <TextInput label={texts.last} description={texts.lastHint} {...form.getInputProps('last')} />
              <Select label={texts.trunk} allowDeselect={false} data={trunks.map((t) => ({ value: String(t.id), label: t.name }))} {...form.getInputProps('trunk')} />
            </>
          )}
        </Editor>
      )}
    </Page>
  );
}
