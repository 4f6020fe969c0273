import { Button, Group, Modal, NumberInput, Select, Stack, Text } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { IconKey, IconPlugConnected, IconPlus, IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take, type Transport } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { pollMs, portsQuery, transportsQuery } from '../../shared/queries';
import { Confirm } from '../../shared/ui/Confirm';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { State } from '../../shared/ui/State';
import { common } from '../../texts/common';
import { transports as texts } from '../../texts/transports';
import { PhoneCertificates } from './PhoneCertificates';

/** What each side can have: the SIP rows of the port table. */
const possible: Record<Transport['side'], readonly Transport['protocol'][]> = {
  core: ['udp', 'tcp', 'tls'],
  edge: ['udp', 'tcp', 'wss'],
};

const columns: readonly Column<Transport>[] = [
  { id: 'name', header: texts.name, value: (t) => t.name },
  { id: 'side', header: texts.side, grow: true, value: (t) => texts.sides[t.side] ?? t.side },
  { id: 'protocol', header: texts.protocol, value: (t) => texts.protocols[t.protocol] ?? t.protocol },
  { id: 'port', header: texts.port, end: true, value: (t) => t.port, cell: (t) => String(t.port) },
  { id: 'digest', header: texts.digest, value: (t) => texts.digestShort[t.digest] },
  {
    id: 'state',
    header: texts.state,
    value: (t) => texts.states[t.state],
    cell: (t) => <State tone={t.state === 'listening' ? 'ok' : 'bad'}>{texts.states[t.state]}</State>,
  },
];

function useChanged() {
  const queries = useQueryClient();
  return () =>
    Promise.all([transportsQuery, portsQuery].map((q) => queries.invalidateQueries({ queryKey: q.queryKey })));
}

/** The SIP transports that exist; administrators of the box add and delete them. */
export function Transports() {
  const query = useQuery({ ...transportsQuery, refetchInterval: pollMs });
  const changed = useChanged();
  const [adding, setAdding] = useState(false);
  const [changing, setChanging] = useState<Transport | null>(null);
  const [going, setGoing] = useState<Transport | null>(null);
  const all = query.data?.items;
  const remove = async (t: Transport) => {
    await take(client.DELETE('/api/v1/transports/{id}', { params: { path: { id: t.id } } }));
    await changed();
    notifications.show({ message: texts.removed(t.name) });
  };
  const add = (
    <Button leftSection={<IconPlus size={17} />} onClick={() => setAdding(true)}>
      {texts.add}
    </Button>
  );
  return (
    <Page title={texts.title} lead={texts.lead} actions={add}>
      {all
        ?.filter((t) => t.state === 'error')
        .map((t) => (
          <Notice key={t.id} tone="bad" title={`${t.name}, ${t.port}`}>
            {t.error}
          </Notice>
        ))}
      <Panel flush>
        <DataTable
          name="transports"
          noun={texts.noun}
          columns={columns}
          rows={all}
          rowKey={(t) => t.id}
          problem={query.error && asProblem(query.error)}
          rowActions={(t) => (
            <Group gap="xs" justify="flex-end" wrap="nowrap">
              <Button size="compact-sm" variant="default" leftSection={<IconKey size={15} />} onClick={() => setChanging(t)}>
                {texts.digest}
              </Button>
              <Button size="compact-sm" variant="default" leftSection={<IconTrash size={15} />} onClick={() => setGoing(t)}>
                {texts.remove}
              </Button>
            </Group>
          )}
          empty={
            <Empty icon={<IconPlugConnected size={22} />} title={texts.none}>
              {texts.noneText}
            </Empty>
          }
        />
      </Panel>
      <PhoneCertificates />
      <Modal opened={changing !== null} onClose={() => setChanging(null)} title={<Text fw={620}>{changing ? texts.digestOf(changing.name) : texts.digest}</Text>} closeButtonProps={{ 'aria-label': common.close }}>
        {changing && <Digest transport={changing} onDone={() => setChanging(null)} />}
      </Modal>
      <Modal opened={adding} onClose={() => setAdding(false)} title={<Text fw={620}>{texts.add}</Text>} closeButtonProps={{ 'aria-label': common.close }}>
        {adding && <Form existing={all ?? []} onDone={() => setAdding(false)} />}
      </Modal>
      <Confirm
        opened={going !== null}
        title={going ? texts.removeTitle(going.name) : ''}
        effect={going && texts.removeEffect(going.port)}
        deed={texts.removeDeed}
        danger
        run={() => remove(going!)}
        onClose={() => setGoing(null)}
      />
    </Page>
  );
}

const digests = (['default', 'md5', 'both', 'sha256'] as const).map((value) => ({ value, label: texts.digests[value] }));

function Digest({ transport, onDone }: { transport: Transport; onDone: () => void }) {
  const changed = useChanged();
  const form = useForm({ initialValues: { digest: transport.digest } });
  const save = useMutation({
    mutationFn: (body: typeof form.values) => take(client.PUT('/api/v1/transports/{id}', { params: { path: { id: transport.id } }, body })),
    onSuccess: async (saved) => {
      await changed();
      notifications.show({ message: texts.digestSaved(saved.name) });
      onDone();
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), ['digest']),
  });
  const problem = save.error && asProblem(save.error);
  return (
    <form noValidate onSubmit={form.onSubmit((v) => save.mutate(v))}>
      <Stack gap="md">
        {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
        <Select label={texts.digest} description={texts.digestHint} data={digests} allowDeselect={false} {...form.getInputProps('digest')} />
        <Group>
          <Button type="submit" loading={save.isPending} disabled={!form.isDirty()}>
            {common.save}
          </Button>
          <Button variant="default" onClick={onDone}>
            {common.cancel}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function Form({ existing, onDone }: { existing: readonly Transport[]; onDone: () => void }) {
  const changed = useChanged();
  const free = (side: Transport['side']) => possible[side].filter((p) => !existing.some((t) => t.side === side && t.protocol === p));
  const sides = (Object.keys(possible) as Transport['side'][]).filter((s) => free(s).length > 0);
  const first = sides[0];
  const form = useForm({
    initialValues: { side: first ?? 'core', protocol: (first ? free(first)[0] : undefined) ?? 'udp', port: '' as number | string, digest: 'default' as Transport['digest'] },
  });
  const create = useMutation({
    mutationFn: (v: typeof form.values) =>
      take(client.POST('/api/v1/transports', { body: { side: v.side, protocol: v.protocol, digest: v.digest, ...(v.port === '' ? {} : { port: Number(v.port) }) } })),
    onSuccess: async (made) => {
      await changed();
      notifications.show({ message: texts.added(made.name, made.port) });
      onDone();
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), ['side', 'protocol', 'port', 'digest']),
  });
  const problem = create.error && asProblem(create.error);
  if (!first) return <Text>{texts.all}</Text>;
  const choose = (side: string | null) => {
    if (side !== 'core' && side !== 'edge') return;
    form.setValues({ side, protocol: free(side)[0] ?? 'udp' });
  };
  return (
    <form noValidate onSubmit={form.onSubmit((v) => create.mutate(v))}>
      <Stack gap="md">
        {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
        <Select
          label={texts.side}
          allowDeselect={false}
          data={sides.map((s) => ({ value: s, label: texts.sides[s] ?? s }))}
          {...form.getInputProps('side')}
          onChange={choose}
        />
        <Select
          label={texts.protocol}
          allowDeselect={false}
          data={free(form.values.side).map((p) => ({ value: p, label: texts.protocols[p] ?? p }))}
          {...form.getInputProps('protocol')}
        />
        <NumberInput
          label={texts.port}
          description={texts.portHint}
          min={1}
          max={65535}
          allowDecimal={false}
          allowNegative={false}
          thousandSeparator=""
          {...form.getInputProps('port')}
        />
        <Select label={texts.digest} description={texts.digestHint} data={digests} allowDeselect={false} {...form.getInputProps('digest')} />
        <Group>
          <Button type="submit" loading={create.isPending}>
            {texts.add}
          </Button>
          <Button variant="default" onClick={onDone}>
            {common.cancel}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
