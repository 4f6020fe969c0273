import { Button, FileButton, Group, SegmentedControl, Stack, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { IconDownload, IconListDetails, IconUpload } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useMemo } from 'react';
import { client, take, type AddressRule } from '../../shared/api';
import { download } from '../../shared/csv';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { addressRulesQuery, bansQuery } from '../../shared/queries';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { Panel } from '../../shared/ui/Page';
import { State } from '../../shared/ui/State';
import { When } from '../../shared/ui/Ticking';
import { security as texts } from '../../texts/security';

function columns(): Column<AddressRule>[] {
  return [
    { id: 'network', header: texts.network, value: (r) => r.network, cell: (r) => <span className="mono">{r.network}</span> },
    { id: 'covers', header: texts.covers, value: (r) => texts.coversSpan(r.first, r.last), cell: (r) => <span className="mono">{texts.coversSpan(r.first, r.last)}</span> },
    {
      id: 'action',
      header: texts.action,
      value: (r) => texts.actions[r.action],
      cell: (r) => <State tone={r.action === 'allow' ? 'ok' : 'bad'}>{texts.actions[r.action]}</State>,
    },
    { id: 'note', header: texts.note, value: (r) => r.note, grow: true },
    { id: 'expires', header: texts.expires, value: (r) => r.expires_at, cell: (r) => (r.expires_at === null ? texts.never : <When at={r.expires_at} />) },
    { id: 'created', header: texts.created, value: (r) => r.created_at, cell: (r) => <When at={r.created_at} /> },
    { id: 'by', header: texts.by, value: (r) => r.created_by, hidden: true },
  ];
}

/** The list of those who are always or never let in. */
export function Rules() {
  const queries = useQueryClient();
  const query = useQuery(addressRulesQuery);
  const shown = useMemo(columns, []);
  const again = () => Promise.all([addressRulesQuery, bansQuery].map((q) => queries.invalidateQueries({ queryKey: q.queryKey })));
  const remove = useMutation({
    mutationFn: (r: AddressRule) => take(client.DELETE('/api/v1/security/addresses', { params: { query: { network: r.network } } })),
    onSuccess: (_, r) => notifications.show({ message: texts.removed(r.network) }),
    onError: (thrown) => notifications.show({ color: 'red', message: asProblem(thrown).title }),
    onSettled: again,
  });
  return (
    <Stack gap="md">
      <Add onDone={again} />
      <Panel flush title={texts.list} action={<Files onDone={again} />}>
        <DataTable
          name="address-rules"
          noun={texts.listNoun}
          columns={shown}
          rows={query.data?.items}
          rowKey={(r) => r.network}
          problem={query.error && asProblem(query.error)}
          initialSort={{ id: 'created', desc: true }}
          rowActions={(r) => (
            <Button size="compact-sm" variant="default" onClick={() => remove.mutate(r)}>
              {texts.remove}
            </Button>
          )}
          empty={
            <Empty icon={<IconListDetails size={22} />} title={texts.listNone}>
              {texts.listNoneText}
            </Empty>
          }
        />
      </Panel>
    </Stack>
  );
}

/** One more line. */
function Add({ onDone }: { onDone: () => Promise<unknown> }) {
  const form = useForm({ initialValues: { network: '', action: 'block' as AddressRule['action'], note: '', expires: '' } });
  const add = useMutation({
    mutationFn: ({ anyway }: { anyway: boolean }) => {
      const { network, action, note, expires } = form.values;
      const expires_at = expires === '' ? null : new Date(expires).toISOString();
      return take(client.POST('/api/v1/security/addresses', { body: { network, action, note, expires_at, anyway } }));
    },
    onSuccess: async (rule) => {
      notifications.show({ message: texts.added(rule.network) });
      form.reset();
      await onDone();
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), ['network', 'note', 'expires'], { expires_at: 'expires' }),
  });
  const problem = add.error && asProblem(add.error);
  const doubt = problem?.fields.anyway;
  return (
    <Panel title={texts.addTitle}>
      <form noValidate onSubmit={form.onSubmit(() => add.mutate({ anyway: false }))}>
        <Stack gap="sm">
          <Group align="flex-start" gap="sm">
            <TextInput style={{ flex: '2 1 16rem' }} label={texts.network} description={texts.networkHint} maxLength={100} autoComplete="off" {...form.getInputProps('network')} />
            <TextInput style={{ flex: '2 1 12rem' }} label={texts.note} description=" " maxLength={200} {...form.getInputProps('note')} />
            <TextInput style={{ flex: '1 1 12rem' }} type="datetime-local" label={texts.until} description={texts.untilHint} {...form.getInputProps('expires')} />
          </Group>
          <Group gap="sm">
            <SegmentedControl
              aria-label={texts.action}
              data={[
                { value: 'block', label: texts.actions.block },
                { value: 'allow', label: texts.actions.allow },
              ]}
              {...form.getInputProps('action')}
            />
            <Button type="submit" loading={add.isPending} disabled={form.values.network.trim() === ''}>
              {texts.add}
            </Button>
          </Group>
          {doubt !== undefined && (
            <Notice tone="warn" title={problem?.detail ?? ''}>
              <Button size="compact-sm" color="red.8" onClick={() => add.mutate({ anyway: true })}>
                {texts.anyway}
              </Button>
            </Notice>
          )}
          {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
        </Stack>
      </form>
    </Panel>
  );
}

/** The list as a file. */
function Files({ onDone }: { onDone: () => Promise<unknown> }) {
  const save = useMutation({
    mutationFn: async () => {
      const text = await take(client.GET('/api/v1/security/addresses/csv', { parseAs: 'text' }));
      download('addresses.csv', 'text/csv', text as unknown as string);
    },
  });
  const add = useMutation({
    mutationFn: async (file: File) => take(client.POST('/api/v1/security/addresses/csv', { body: { csv: await file.text() } })),
    onSuccess: async (done) => {
      notifications.show({ message: texts.imported(done.added) });
      await onDone();
    },
    onError: (thrown) => {
      const problem = asProblem(thrown);
      notifications.show({ color: 'red', autoClose: false, title: texts.importRefused, message: Object.values(problem.fields)[0] ?? problem.title });
    },
  });
  return (
    <Group gap="xs">
      <Button size="xs" variant="default" leftSection={<IconDownload size={15} />} loading={save.isPending} onClick={() => save.mutate()}>
        {texts.exportCSV}
      </Button>
      <FileButton accept=".csv,text/csv,text/plain" onChange={(file) => file && add.mutate(file)}>
        {(props) => (
          <Button {...props} size="xs" variant="default" leftSection={<IconUpload size={15} />} loading={add.isPending}>
            {texts.importCSV}
          </Button>
        )}
      </FileButton>
    </Group>
  );
}
