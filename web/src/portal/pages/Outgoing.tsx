import { ActionIcon, Button, Group, MultiSelect, NumberInput, Select, Stack, Switch, TagsInput, Text, TextInput } from '@mantine/core';
import { IconPhoneOutgoing, IconPlus, IconTrash } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Page, Panel } from '../../shared/ui/Page';
import { State } from '../../shared/ui/State';
import { outgoing as texts, routing } from '../../texts/routing';
import { roleName } from '../roles';
import { Editor } from '../routing/Editor';
import { groupsQuery, hoursQuery, outboundQuery, trunksQuery, type OutboundRule } from '../routing/queries';
import { parseRange, rangeText } from '../routing/ranges';

/** The conditions of a rule in a few words. */
function when(r: OutboundRule): string {
  const parts = [
    r.prefixes.length > 0 && `${r.prefixes.join(', ')}…`,
    r.lengths.length > 0 && `${texts.lengths}: ${r.lengths.join(', ')}`,
    r.classes.map((c) => (texts.classNames as Record<string, string>)[c] ?? c).join(', '),
    r.groups.join(', '),
    r.roles.map(roleName).join(', '),
    r.extensions.map(rangeText).join(', '),
    r.hours,
  ].filter(Boolean);
  return parts.length === 0 ? texts.everything : parts.join(' · ');
}

export function Outgoing() {
  const query = useQuery(outboundQuery);
  const trunks = useQuery(trunksQuery).data;
  const [open, setOpen] = useState<OutboundRule | 'new' | null>(null);
  const nameOf = (id: number) => trunks?.find((t) => t.id === id)?.name ?? String(id);
  const columns: Column<OutboundRule>[] = [
    { id: 'priority', header: routing.priority, end: true, value: (r) => r.priority },
    { id: 'name', header: routing.name, value: (r) => r.name, cell: (r) => <span style={{ fontWeight: 550 }}>{r.name}</span> },
    { id: 'when', header: texts.when, grow: true, value: when },
    { id: 'over', header: texts.over, value: (r) => r.routes.map((w) => nameOf(w.trunk)).join(' → ') },
    { id: 'on', header: routing.on, value: (r) => Number(r.enabled), cell: (r) => <State tone={r.enabled ? 'ok' : 'idle'}>{r.enabled ? routing.on : routing.off}</State> },
  ];
  const add = (
    <Button leftSection={<IconPlus size={17} />} onClick={() => setOpen('new')}>
      {texts.add}
    </Button>
  );
  return (
    <Page title={texts.title} lead={texts.lead} actions={add}>
      <Panel flush>
        <DataTable
          name="outgoing"
          noun={texts.noun}
          columns={columns}
          rows={query.data}
          rowKey={(r) => String(r.id)}
          problem={query.error && asProblem(query.error)}
          initialSort={{ id: 'priority', desc: false }}
          onRow={setOpen}
          empty={
            <Empty icon={<IconPhoneOutgoing size={22} />} title={texts.none} action={add}>
              {texts.noneText}
            </Empty>
          }
        />
      </Panel>
      {open && <Form rule={open === 'new' ? undefined : open} onClose={() => setOpen(null)} />}
    </Page>
  );
}

interface Way {
  trunk: string | null;
  strip: number | string;
  prepend: string;
  caller_id: string;
}

const way = (trunk: string | null = null): Way => ({ trunk, strip: 0, prepend: '', caller_id: '' });

function valuesOf(r: OutboundRule | undefined, only: string | null) {
  return {
    name: r?.name ?? '',
    enabled: r?.enabled ?? true,
    priority: (r?.priority ?? 1000) as number | string,
    prefixes: r?.prefixes ?? [],
    lengths: (r?.lengths ?? []).map(String),
    classes: r?.classes ?? [],
    groups: r?.groups ?? [],
    roles: r?.roles ?? [],
    extensions: (r?.extensions ?? []).map(rangeText),
    hours: r?.hours ?? '',
    order: r?.order ?? ('listed' as OutboundRule['order']),
    routes: r ? r.routes.map((w): Way => ({ trunk: String(w.trunk), strip: w.strip ?? 0, prepend: w.prepend ?? '', caller_id: w.caller_id ?? '' })) : [way(only)],
  };
}

function bodyOf(v: ReturnType<typeof valuesOf>) {
  return {
    ...v,
    priority: Number(v.priority),
    lengths: v.lengths.map(Number).filter((n) => Number.isInteger(n)),
    extensions: v.extensions.map(parseRange),
    routes: v.routes.filter((w) => w.trunk !== null).map((w) => ({ trunk: Number(w.trunk), strip: Number(w.strip), prepend: w.prepend.trim(), caller_id: w.caller_id.trim() })),
  };
}

function Form({ rule, onClose }: { rule: OutboundRule | undefined; onClose: () => void }) {
  const trunks = useQuery(trunksQuery).data ?? [];
  const groups = useQuery(groupsQuery).data ?? [];
  const schedules = useQuery(hoursQuery).data?.items ?? [];
  const path = { params: { path: { rule: rule?.id ?? 0 } } };
  return (
    <Editor
      title={rule?.name ?? texts.add}
      name={(v) => v.name}
      initial={valuesOf(rule, trunks.length === 1 ? String(trunks[0]!.id) : null)}
      stale={[outboundQuery.queryKey]}
      save={(v) => (rule ? take(client.PATCH('/api/v1/outbound-rules/{rule}', { ...path, body: bodyOf(v) })) : take(client.POST('/api/v1/outbound-rules', { body: bodyOf(v) })))}
      remove={rule && (() => take(client.DELETE('/api/v1/outbound-rules/{rule}', path)))}
      onClose={onClose}
    >
      {(form) => (
        <>
          <Group align="flex-start" gap="sm">
            <TextInput style={{ flex: '3 1 12rem' }} label={routing.name} maxLength={64} data-autofocus {...form.getInputProps('name')} />
            <NumberInput style={{ flex: '1 1 6rem' }} label={routing.priority} min={1} max={9999} {...form.getInputProps('priority')} />
          </Group>
          <TagsInput label={texts.prefixes} description={texts.prefixesHint} {...form.getInputProps('prefixes')} />
          <TagsInput label={texts.lengths} {...form.getInputProps('lengths')} />
          <MultiSelect label={texts.classes} data={Object.entries(texts.classNames).map(([value, label]) => ({ value, label }))} {...form.getInputProps('classes')} />
          {groups.length > 0 && <MultiSelect label={texts.groups} data={groups.map((g) => g.name)} {...form.getInputProps('groups')} />}
          <MultiSelect
            label={texts.roles}
            data={[...new Set(['admin', 'standard_international', 'standard', ...form.values.roles])].map((value) => ({ value, label: roleName(value) }))}
            {...form.getInputProps('roles')}
          />
          <TagsInput label={texts.extensions} description={texts.extensionsHint} {...form.getInputProps('extensions')} />
          <Select
            label={routing.hours}
            data={[{ value: '', label: routing.always }, ...schedules.map((h) => ({ value: h.name ?? '', label: h.name ?? '' }))]}
            allowDeselect={false}
            {...form.getInputProps('hours')}
          />
          <Stack gap="xs">
            <Text size="sm" fw={550}>
              {texts.routes}
            </Text>
            {form.values.routes.map((_, i) => (
              <Group key={i} align="flex-end" gap="xs">
                <Select
                  style={{ flex: '2 1 9rem' }}
                  label={texts.over}
                  data={trunks.map((t) => ({ value: String(t.id), label: t.name }))}
                  {...form.getInputProps(`routes.${i}.trunk`)}
                />
                <NumberInput style={{ flex: '1 1 5rem' }} label={texts.strip} min={0} max={15} {...form.getInputProps(`routes.${i}.strip`)} />
                <TextInput style={{ flex: '1 1 5rem' }} label={texts.prepend} {...form.getInputProps(`routes.${i}.prepend`)} />
                <TextInput style={{ flex: '2 1 7rem' }} label={texts.callerID} {...form.getInputProps(`routes.${i}.caller_id`)} />
                <ActionIcon variant="default" size={36} aria-label={routing.remove} disabled={form.values.routes.length === 1} onClick={() => form.removeListItem('routes', i)}>
                  <IconTrash size={16} />
                </ActionIcon>
              </Group>
            ))}
            {form.errors.routes && (
              <Text size="sm" c="red.8">
                {form.errors.routes}
              </Text>
            )}
            <div>
              <Button size="compact-sm" variant="default" leftSection={<IconPlus size={15} />} disabled={form.values.routes.length >= 6} onClick={() => form.insertListItem('routes', way())}>
                {texts.addRoute}
              </Button>
            </div>
          </Stack>
          <Select label={texts.order} data={Object.entries(texts.orders).map(([value, label]) => ({ value, label }))} allowDeselect={false} {...form.getInputProps('order')} />
          <Switch label={routing.on} {...form.getInputProps('enabled', { type: 'checkbox' })} />
        </>
      )}
    </Editor>
  );
}
