import { Button, FileButton, Group, Stack, Text, Textarea } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconDownload, IconHistory, IconUpload } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take, type ConfigurationRevision } from '../../shared/api';
import { download } from '../../shared/csv';
import { bytes } from '../../shared/format';
import { asProblem } from '../../shared/problems';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Page, Panel } from '../../shared/ui/Page';
import { When } from '../../shared/ui/Ticking';
import { configuration as texts } from '../../texts/configuration';
import { audit } from '../../texts/system';
import { Plan, Refusal, type Shown } from '../configuration/Plan';
import { planOf } from '../configuration/plan';

type Secrets = 'none' | 'sealed';

/** What the server takes, in bytes. */
const maxBytes = 32 << 20;

const columns: readonly Column<ConfigurationRevision>[] = [
  { id: 'rev', header: texts.rev, end: true, value: (r) => r.rev },
  { id: 'at', header: texts.at, value: (r) => r.at, cell: (r) => <When at={r.at} /> },
  { id: 'actor', header: texts.actor, value: (r) => r.actor },
  { id: 'action', header: texts.action, grow: true, value: (r) => audit.actions[r.action] ?? r.action.replace(/[._]/g, ' ') },
  { id: 'size', header: texts.size, end: true, value: (r) => r.bytes, cell: (r) => <span style={{ whiteSpace: 'nowrap' }}>{bytes(r.bytes)}</span> },
];

async function read(secrets: Secrets): Promise<string> {
  return (await take(client.GET('/api/v1/configuration', { params: { query: { secrets } }, parseAs: 'text' }))) as unknown as string;
}

/** All settings as one document, and every revision of them. */
export function Configuration() {
  const [shown, show] = useState<Shown | null>(null);
  return (
    <Page title={texts.title} lead={texts.lead}>
      <Download />
      <Editor onPlan={show} />
      {shown && <Plan shown={shown} show={show} />}
      <History onPlan={show} />
    </Page>
  );
}

const failed = (thrown: unknown) => notifications.show({ color: 'red', message: asProblem(thrown).title });

function Download() {
  const save = useMutation({
    mutationFn: async (secrets: Secrets) => download('ringfence.yaml', 'application/yaml', await read(secrets)),
    onError: failed,
  });
  const button = (secrets: Secrets, label: string) => (
    <Button variant="default" leftSection={<IconDownload size={16} />} loading={save.isPending && save.variables === secrets} onClick={() => save.mutate(secrets)}>
      {label}
    </Button>
  );
  return (
    <Panel title={texts.download}>
      <Stack gap="md">
        <Text size="sm" c="dimmed">
          {texts.downloadText}
        </Text>
        <Group gap="sm">
          {button('none', texts.plain)}
          {button('sealed', texts.sealed)}
        </Group>
      </Stack>
    </Panel>
  );
}

function Editor({ onPlan }: { onPlan: (shown: Shown | null) => void }) {
  const [yaml, setYAML] = useState('');
  const plan = useMutation({
    mutationFn: (text: string) => planOf({ yaml: text }),
    onSuccess: (found, text) => onPlan({ source: { yaml: text }, plan: found }),
  });
  const write = (text: string) => {
    setYAML(text);
    plan.reset();
    onPlan(null); // it was of another text
  };
  const start = useMutation({ mutationFn: () => read('none'), onSuccess: write, onError: failed });
  const open = async (file: File | null | undefined) => {
    if (!file) return;
    if (file.size > maxBytes) notifications.show({ color: 'red', message: texts.tooLarge });
    else write(await file.text());
  };
  return (
    <Panel title={texts.edit}>
      <Stack gap="md">
        <Text size="sm" c="dimmed">
          {texts.editText}
        </Text>
        <Group gap="sm">
          <FileButton accept=".yaml,.yml,application/yaml" onChange={(file) => void open(file)}>
            {(props) => (
              <Button variant="default" leftSection={<IconUpload size={16} />} {...props}>
                {texts.choose}
              </Button>
            )}
          </FileButton>
          <Button variant="default" loading={start.isPending} onClick={() => start.mutate()}>
            {texts.current}
          </Button>
        </Group>
        <Textarea
          label={texts.document}
          description={texts.documentHint}
          value={yaml}
          autosize
          minRows={6}
          maxRows={24}
          spellCheck={false}
          styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 12.5, whiteSpace: 'pre', overflowX: 'auto' } }}
          onChange={(e) => write(e.currentTarget.value)}
          onDragOver={(e) => e.preventDefault()}
          onDrop={(e) => {
            if (e.dataTransfer.files.length === 0) return;
            e.preventDefault();
            void open(e.dataTransfer.files[0]);
          }}
        />
        {plan.error && <Refusal problem={asProblem(plan.error)} />}
        <div>
          <Button loading={plan.isPending} disabled={yaml.trim() === ''} onClick={() => plan.mutate(yaml)}>
            {texts.see}
          </Button>
        </div>
      </Stack>
    </Panel>
  );
}

function History({ onPlan }: { onPlan: (shown: Shown) => void }) {
  const query = useQuery({ queryKey: ['configuration-history'], queryFn: () => take(client.GET('/api/v1/configuration/history')) });
  const plan = useMutation({
    mutationFn: ({ rev }: { rev: number; asking: boolean }) => planOf({ rev }),
    onSuccess: (found, { rev, asking }) => onPlan({ source: { rev }, plan: found, asking }),
    onError: failed,
  });
  const button = (rev: number, asking: boolean) => (
    <Button
      size="compact-sm"
      variant="default"
      loading={plan.isPending && plan.variables.rev === rev && plan.variables.asking === asking}
      onClick={() => plan.mutate({ rev, asking })}
    >
      {asking ? texts.restore : texts.compare}
    </Button>
  );
  return (
    <Panel flush title={texts.history}>
      <DataTable
        name="configuration"
        noun={texts.noun}
        columns={columns}
        rows={query.data?.items}
        rowKey={(r) => String(r.rev)}
        problem={query.error && asProblem(query.error)}
        initialSort={{ id: 'rev', desc: true }}
        rowActions={(r) => (
          <Group gap={6} wrap="nowrap" justify="flex-end">
            {button(r.rev, false)}
            {button(r.rev, true)}
          </Group>
        )}
        empty={
          <Empty icon={<IconHistory size={22} />} title={texts.none}>
            {texts.noneText}
          </Empty>
        }
      />
    </Panel>
  );
}
