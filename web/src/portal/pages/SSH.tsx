import { Button, Group, Modal, Stack, Text, Textarea, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { IconKey, IconPlus, IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take, type SSH as SSHState, type SSHKey } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { pollMs, portsQuery, sshQuery } from '../../shared/queries';
import { Confirm } from '../../shared/ui/Confirm';
import { CopyButton } from '../../shared/ui/Copy';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Facts } from '../../shared/ui/Facts';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { State } from '../../shared/ui/State';
import { When } from '../../shared/ui/Ticking';
import { common } from '../../texts/common';
import { ssh as texts } from '../../texts/ssh';
import { ports as portTexts } from '../../texts/system';

const columns: readonly Column<SSHKey>[] = [
  { id: 'label', header: texts.label, value: (k) => k.label, cell: (k) => <span style={{ fontWeight: 550 }}>{k.label || texts.cloud}</span> },
  { id: 'type', header: texts.type, value: (k) => (k.type === 'ssh-rsa' ? `RSA ${k.bits}` : k.type.replace(/^ssh-/, '')) },
  { id: 'fingerprint', header: texts.fingerprint, grow: true, value: (k) => k.fingerprint, cell: (k) => <span className="mono">{k.fingerprint}</span> },
  {
    id: 'added',
    header: texts.added,
    value: (k) => k.added_at ?? '',
    cell: (k) =>
      k.cloud ? (
        texts.cloud
      ) : (
        <span>
          {k.added_at && <When at={k.added_at} />} {texts.by(k.added_by)}
        </span>
      ),
  },
  { id: 'used', header: texts.used, value: (k) => k.last_used_at ?? '', cell: (k) => (k.last_used_at ? <When at={k.last_used_at} /> : common.never) },
];

function useChanged() {
  const queries = useQueryClient();
  return () => Promise.all([sshQuery, portsQuery].map((q) => queries.invalidateQueries({ queryKey: q.queryKey })));
}

/** The operator shell over SSH: whether it is on, and who may log in. */
export function SSH() {
  const query = useQuery({ ...sshQuery, refetchInterval: pollMs });
  const changed = useChanged();
  const [adding, setAdding] = useState(false);
  const [going, setGoing] = useState<SSHKey | null>(null);
  const remove = async (k: SSHKey) => {
    await take(client.DELETE('/api/v1/ssh/keys/{id}', { params: { path: { id: k.id } } }));
    await changed();
    notifications.show({ message: texts.removed(k.label) });
  };
  const add = (
    <Button leftSection={<IconPlus size={17} />} onClick={() => setAdding(true)}>
      {texts.add}
    </Button>
  );
  return (
    <Page title={texts.title} lead={texts.lead} actions={add}>
      {query.data && <Access state={query.data} />}
      <Panel title={texts.keys} flush>
        <DataTable
          name="ssh-keys"
          noun={texts.noun}
          columns={columns}
          rows={query.data?.keys}
          rowKey={(k) => k.id}
          problem={query.error && asProblem(query.error)}
          rowActions={(k) => (
            <Button
              size="compact-sm"
              variant="default"
              leftSection={<IconTrash size={15} />}
              disabled={k.cloud}
              title={k.cloud ? texts.cloudHint : undefined}
              onClick={() => setGoing(k)}
            >
              {texts.remove}
            </Button>
          )}
          empty={
            <Empty icon={<IconKey size={22} />} title={texts.none}>
              {texts.noneText}
            </Empty>
          }
        />
      </Panel>
      <Modal opened={adding} onClose={() => setAdding(false)} title={<Text fw={620}>{texts.add}</Text>} closeButtonProps={{ 'aria-label': common.close }}>
        {adding && <Form onDone={() => setAdding(false)} />}
      </Modal>
      <Confirm
        opened={going !== null}
        title={going ? texts.removeTitle(going.label) : ''}
        effect={texts.removeEffect}
        deed={texts.removeDeed}
        danger
        run={() => remove(going!)}
        onClose={() => setGoing(null)}
      />
    </Page>
  );
}

function Access({ state }: { state: SSHState }) {
  const changed = useChanged();
  const [asking, setAsking] = useState(false);
  const listening = state.state === 'listening';
  const command = `ssh -p ${state.port} ${state.user}@${window.location.hostname}`;
  const zones = state.zones.map((z) => portTexts.zoneNames[z] ?? z).join(', ');
  const turn = async () => {
    await take(client.PUT('/api/v1/ssh', { body: { enabled: !state.enabled } }));
    await changed();
    notifications.show({ message: state.enabled ? texts.disabled : texts.enabled });
  };
  return (
    <Panel
      title={texts.panel}
      action={
        <Button
          size="compact-sm"
          variant={state.enabled ? 'default' : 'filled'}
          disabled={!state.enabled && state.keys.length === 0}
          onClick={() => setAsking(true)}
        >
          {state.enabled ? texts.disable : texts.enable}
        </Button>
      }
    >
      <Stack gap="md">
        {state.enabled && !listening && (
          <Notice tone="bad" title={texts.failed}>
            {state.state}
          </Notice>
        )}
        <Facts
          items={[
            [
              texts.state,
              <State key="state" tone={!state.enabled ? 'idle' : listening ? 'ok' : 'bad'}>
                {!state.enabled ? texts.off : listening ? texts.on : texts.failed}
              </State>,
            ],
            [
              texts.login,
              <Group key="login" gap="xs">
                <span className="mono">{command}</span>
                <CopyButton text={command} what={texts.login} />
              </Group>,
            ],
            [texts.hostKey, <span key="key" className="mono" title={texts.hostKeyHint}>{state.host_key || common.none}</span>],
            [texts.reach, zones],
            [texts.sessions, String(state.sessions)],
            [texts.refused, state.refused.toLocaleString()],
          ]}
        />
      </Stack>
      <Confirm
        opened={asking}
        title={state.enabled ? texts.disableTitle : texts.enableTitle}
        effect={state.enabled ? texts.disableEffect(state.sessions) : texts.enableEffect(state.port, zones)}
        deed={state.enabled ? texts.disableDeed : texts.enableDeed}
        danger={!state.enabled}
        run={turn}
        onClose={() => setAsking(false)}
      />
    </Panel>
  );
}

function Form({ onDone }: { onDone: () => void }) {
  const changed = useChanged();
  const form = useForm({ initialValues: { label: '', key: '' } });
  const save = useMutation({
    mutationFn: (body: typeof form.values) => take(client.POST('/api/v1/ssh/keys', { body })),
    onSuccess: async (_, values) => {
      await changed();
      notifications.show({ message: texts.addedDone(values.label) });
      onDone();
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), ['label', 'key']),
  });
  const problem = save.error && asProblem(save.error);
  return (
    <form noValidate onSubmit={form.onSubmit((v) => save.mutate(v))}>
      <Stack gap="md">
        {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
        <TextInput label={texts.label} description={texts.labelHint} data-autofocus {...form.getInputProps('label')} />
        <Textarea
          label={texts.key}
          description={texts.keyHint}
          placeholder="ssh-ed25519 AAAA… name@computer"
          autosize
          minRows={3}
          maxRows={10}
          spellCheck={false}
          styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 12.5 } }}
          {...form.getInputProps('key')}
        />
        <Group>
          <Button type="submit" loading={save.isPending}>
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
