import { Button, Checkbox, Group, NumberInput, Stack, Switch, Text, Textarea } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { client, take, type Port } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { portsQuery, transportsQuery } from '../../shared/queries';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { common } from '../../texts/common';
import { ports as texts } from '../../texts/system';
import { words } from '../network';

/** Rows that are switched elsewhere, or never. */
const fixed = (p: Port) => p.state === 'unavailable' || p.id === 'acme' || p.id === 'portal' || p.id === 'ssh' || p.speaks === 'rtp' || p.speaks.startsWith('sip');

/** Sources of a line that was pasted with masks keep them: the server reads both. */
const lines = (text: string) => text.split(/[\n,;]+/).map((l) => l.trim()).filter(Boolean);

/** Port and reach of one row. */
export function PortForm({ port, onDone }: { port: Port; onDone: () => void }) {
  const queries = useQueryClient();
  const form = useForm({
    initialValues: { enabled: port.enabled, port: port.first as number | string, zones: port.zones as string[], sources: port.sources.join('\n') },
  });
  const save = useMutation({
    mutationFn: ({ anyway }: { anyway: boolean }) => {
      const { enabled, zones, sources } = form.values;
      const list = sources.includes('\n') || /\s\d+\.\d+\.\d+\.\d+/.test(sources) ? lines(sources) : words(sources);
      return take(client.PUT('/api/v1/ports/{id}', { params: { path: { id: port.id } }, body: { enabled, port: Number(form.values.port), zones, sources: list, anyway } }));
    },
    onSuccess: async (saved) => {
      await Promise.all([portsQuery, transportsQuery].map((q) => queries.invalidateQueries({ queryKey: q.queryKey })));
      const away = port.id === 'portal' && saved.first !== port.first;
      notifications.show({ message: away ? texts.moved(saved.first) : texts.saved(saved.name), autoClose: away ? false : undefined });
      onDone();
    },
    onError: (thrown) => {
      const placed: Record<string, string> = {};
      for (const [field, reason] of Object.entries(asProblem(thrown).fields)) placed[field.replace(/[.[].*$/, '')] = reason;
      form.setErrors(placed);
    },
  });
  const problem = save.error && asProblem(save.error);
  const doubt = problem?.fields.anyway;
  const range = port.first !== port.last;
  return (
    <form noValidate onSubmit={form.onSubmit(() => save.mutate({ anyway: false }))}>
      <Stack gap="md">
        <Text size="sm">{port.doc}</Text>
        {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
        {!fixed(port) && <Switch label={texts.enabled} {...form.getInputProps('enabled', { type: 'checkbox' })} error={form.errors.enabled} />}
        {!range && (
          <NumberInput
            label={texts.port}
            description={port.id === 'portal' ? texts.portalPort : undefined}
            min={1024}
            max={65535}
            clampBehavior="none"
            allowDecimal={false}
            allowNegative={false}
            thousandSeparator=""
            {...form.getInputProps('port')}
          />
        )}
        <Checkbox.Group label={texts.zones} description={texts.zonesHint} {...form.getInputProps('zones')}>
          <Stack gap={6} my="xs">
            {Object.entries(texts.zoneLabels).map(([value, label]) => (
              <Checkbox key={value} value={value} label={label} />
            ))}
          </Stack>
        </Checkbox.Group>
        <Textarea label={texts.sources} description={texts.sourcesHint} autosize minRows={2} maxRows={12} spellCheck={false} {...form.getInputProps('sources')} />
        {doubt !== undefined && (
          <Notice tone="warn" title={problem?.detail ?? ''}>
            <Button size="compact-sm" color="red.8" loading={save.isPending} onClick={() => save.mutate({ anyway: true })}>
              {texts.anyway}
            </Button>
          </Notice>
        )}
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
