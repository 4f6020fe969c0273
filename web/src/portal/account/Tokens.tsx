import { Button, Group, Modal, Select, Stack, Switch, Text, Textarea, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { IconKey, IconPlus } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take, type Token } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { tokensQuery } from '../../shared/queries';
import { Confirm } from '../../shared/ui/Confirm';
import { Copyable } from '../../shared/ui/Copy';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { Panel } from '../../shared/ui/Page';
import { When } from '../../shared/ui/Ticking';
import { common } from '../../texts/common';
import { tokens as texts } from '../../texts/signin';

const columns: readonly Column<Token>[] = [
  { id: 'name', header: texts.name, grow: true, value: (t) => t.name },
  { id: 'may', header: texts.may, value: (t) => (t.read_only ? texts.reads : texts.all) },
  { id: 'used', header: texts.used, value: (t) => t.used_at ?? '', cell: (t) => (t.used_at ? <When at={t.used_at} /> : common.never) },
  { id: 'ends', header: texts.ends, value: (t) => t.expires_at ?? '', cell: (t) => (t.expires_at ? <When at={t.expires_at} /> : common.never) },
];

/** Tokens that programs use in place of the own log-in. */
export function Tokens() {
  const queries = useQueryClient();
  const query = useQuery(tokensQuery);
  const [adding, setAdding] = useState(false);
  const [going, setGoing] = useState<Token | null>(null);
  const changed = () => queries.invalidateQueries({ queryKey: tokensQuery.queryKey });
  const remove = async (t: Token) => {
    await take(client.DELETE('/api/v1/tokens/{token}', { params: { path: { token: t.id } } }));
    await changed();
    notifications.show({ message: texts.removed(t.name) });
  };
  const close = () => {
    setAdding(false);
    void changed();
  };
  return (
    <Panel
      title={texts.title}
      flush
      action={
        <Button size="compact-sm" variant="default" leftSection={<IconPlus size={15} />} onClick={() => setAdding(true)}>
          {texts.add}
        </Button>
      }
    >
      <DataTable
        name="tokens"
        noun={texts.noun}
        plain
        columns={columns}
        rows={query.data?.items}
        rowKey={(t) => String(t.id)}
        problem={query.error && asProblem(query.error)}
        rowActions={(t) => (
          <Button size="compact-sm" variant="default" onClick={() => setGoing(t)}>
            {texts.remove}
          </Button>
        )}
        empty={
          <Empty icon={<IconKey size={22} />} title={texts.none}>
            {texts.noneText}
          </Empty>
        }
      />
      <Modal opened={adding} onClose={close} closeOnClickOutside={false} title={<Text fw={620}>{texts.add}</Text>} closeButtonProps={{ 'aria-label': common.close }}>
        {adding && <Form onDone={close} />}
      </Modal>
      <Confirm
        opened={going !== null}
        title={going ? texts.removeTitle(going.name) : ''}
        effect={texts.removeEffect}
        deed={texts.removeDeed}
        danger
        run={() => remove(going!)}
        onClose={() => setGoing(null)}
      />
    </Panel>
  );
}

const ends = [30, 90, 365, 0].map((days) => ({ value: String(days), label: texts.days(days) }));

function Form({ onDone }: { onDone: () => void }) {
  const [secret, setSecret] = useState('');
  const form = useForm({
    initialValues: { name: '', read_only: true, days: '90', sources: '' },
    validate: { name: (v) => (v.trim() === '' ? texts.nameMissing : null) },
  });
  const create = useMutation({
    mutationFn: (v: typeof form.values) =>
      take(
        client.POST('/api/v1/tokens', {
          body: {
            name: v.name.trim(),
            read_only: v.read_only,
            sources: v.sources.split(/[\s,]+/).filter(Boolean),
            expires_at: v.days === '0' ? undefined : new Date(Date.now() + Number(v.days) * 86_400_000).toISOString(),
          },
        }),
      ),
    onSuccess: (made) => setSecret(made.secret),
    onError: (thrown) => placeProblem(form, asProblem(thrown), ['name', 'sources'], {}),
  });
  const problem = create.error && asProblem(create.error);
  if (secret !== '') {
    return (
      <Stack gap="md">
        <Notice tone="warn" title={texts.once}>
          {texts.onceText}
        </Notice>
        <Copyable text={secret} what={texts.secret} />
        <Text size="sm" className="mono" style={{ overflowWrap: 'anywhere' }}>
          {texts.header}
        </Text>
        <Group justify="flex-end">
          <Button onClick={onDone}>{texts.kept}</Button>
        </Group>
      </Stack>
    );
  }
  return (
    <form noValidate onSubmit={form.onSubmit((v) => create.mutate(v))}>
      <Stack gap="md">
        {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
        <TextInput label={texts.name} description={texts.nameHint} maxLength={64} data-autofocus {...form.getInputProps('name')} />
        <Switch label={texts.readOnly} description={texts.readOnlyHint} {...form.getInputProps('read_only', { type: 'checkbox' })} />
        <Select label={texts.ends} data={ends} allowDeselect={false} {...form.getInputProps('days')} />
        <Textarea label={texts.sources} description={texts.sourcesHint} autosize minRows={1} {...form.getInputProps('sources')} />
        <Group justify="flex-end">
          <Button type="submit" loading={create.isPending}>
            {texts.make}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
