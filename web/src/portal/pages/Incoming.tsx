import { Button, Group, MultiSelect, NumberInput, Select, Switch, TagsInput, TextInput } from '@mantine/core';
import { IconPhoneIncoming, IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Page, Panel } from '../../shared/ui/Page';
import { State } from '../../shared/ui/State';
import { incoming as texts, routing } from '../../texts/routing';
import { Editor } from '../routing/Editor';
import { didsQuery, hoursQuery, inboundQuery, trunksQuery, type Destination, type InboundRule } from '../routing/queries';
import { parseRange, rangeText } from '../routing/ranges';

const kindName = (kind: string) => (texts.kinds as Record<string, string>)[kind] ?? kind;
const goes = (d: Destination) => (d.kind === 'extension' || d.kind === 'number' ? (d.number ?? '') : kindName(d.kind ?? ''));

export function Incoming() {
  const query = useQuery(inboundQuery);
  const trunks = useQuery(trunksQuery).data;
  const [open, setOpen] = useState<InboundRule | 'new' | null>(null);
  const columns: Column<InboundRule>[] = [
    { id: 'priority', header: routing.priority, end: true, value: (r) => r.priority },
    { id: 'name', header: routing.name, value: (r) => r.name, cell: (r) => <span style={{ fontWeight: 550 }}>{r.name}</span> },
    {
      id: 'dids',
      header: texts.dids,
      grow: true,
      value: (r) => r.dids.map(rangeText).join(', ') || r.trunks.map((id) => trunks?.find((t) => t.id === id)?.name ?? id).join(', ') || texts.anyTrunk,
    },
    { id: 'caller', header: texts.caller, value: (r) => r.caller || texts.anybody },
    { id: 'hours', header: routing.hours, value: (r) => r.hours || routing.always },
    { id: 'goes', header: texts.goes, value: (r) => goes(r.open) },
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
          name="incoming"
          noun={texts.noun}
          columns={columns}
          rows={query.data}
          rowKey={(r) => String(r.id)}
          problem={query.error && asProblem(query.error)}
          initialSort={{ id: 'priority', desc: false }}
          onRow={setOpen}
          empty={
            <Empty icon={<IconPhoneIncoming size={22} />} title={texts.none} action={add}>
              {texts.noneText}
            </Empty>
          }
        />
      </Panel>
      {open && <Form rule={open === 'new' ? undefined : open} onClose={() => setOpen(null)} />}
    </Page>
  );
}

const target = (d?: Destination) => ({ kind: d?.kind ?? '', number: d?.number ?? '', as: d?.as ?? '' });

function valuesOf(r: InboundRule | undefined) {
  return {
    name: r?.name ?? '',
    enabled: r?.enabled ?? true,
    priority: (r?.priority ?? 1000) as number | string,
    trunks: (r?.trunks ?? []).map(String),
    dids: (r?.dids ?? []).map(rangeText),
    caller: r?.caller ?? '',
    hours: r?.hours ?? '',
    open: target(r?.open ?? { kind: 'extension' }),
    closed: target(r?.closed),
    holiday: target(r?.holiday),
    night: target(r?.night),
  };
}

const clean = (d: ReturnType<typeof target>) => ({
  kind: d.kind,
  number: ['extension', 'direct', 'number'].includes(d.kind) ? d.number.trim() : '',
  as: d.kind === 'number' ? d.as.trim() : '',
});

function bodyOf(v: ReturnType<typeof valuesOf>) {
  return {
    ...v,
    priority: Number(v.priority),
    trunks: v.trunks.map(Number),
    dids: v.dids.map(parseRange),
    caller: v.caller.trim(),
    open: clean(v.open),
    closed: clean(v.closed),
    holiday: clean(v.holiday),
    night: clean(v.night),
  };
}

function Form({ rule, onClose }: { rule: InboundRule | undefined; onClose: () => void }) {
  const trunks = useQuery(trunksQuery).data ?? [];
  const schedules = useQuery(hoursQuery).data?.items ?? [];
  const path = { params: { path: { rule: rule?.id ?? 0 } } };
  return (
    <Editor
      title={rule?.name ?? texts.add}
      name={(v) => v.name}
      initial={valuesOf(rule)}
      stale={[inboundQuery.queryKey, didsQuery.queryKey]}
      save={(v) => (rule ? take(client.PATCH('/api/v1/inbound-rules/{rule}', { ...path, body: bodyOf(v) })) : take(client.POST('/api/v1/inbound-rules', { body: bodyOf(v) })))}
      remove={rule && (() => take(client.DELETE('/api/v1/inbound-rules/{rule}', path)))}
      onClose={onClose}
    >
      {(form) => (
        <>
          <Group align="flex-start" gap="sm">
            <TextInput style={{ flex: '3 1 12rem' }} label={routing.name} maxLength={64} data-autofocus {...form.getInputProps('name')} />
            <NumberInput style={{ flex: '1 1 6rem' }} label={routing.priority} min={1} max={9999} {...form.getInputProps('priority')} />
          </Group>
          <MultiSelect label={texts.trunksOf} placeholder={form.values.trunks.length === 0 ? texts.anyTrunk : undefined} data={trunks.map((t) => ({ value: String(t.id), label: t.name }))} {...form.getInputProps('trunks')} />
          <TagsInput label={texts.dids} description={texts.didsHint} {...form.getInputProps('dids')} />
          <TextInput label={texts.caller} description={texts.callerHint} {...form.getInputProps('caller')} />
          <Select
            label={routing.hours}
            data={[{ value: '', label: routing.always }, ...schedules.map((h) => ({ value: h.name ?? '', label: h.name ?? '' }))]}
            allowDeselect={false}
            {...form.getInputProps('hours')}
          />
          {(['open', 'closed', 'holiday', 'night'] as const)
            .filter((at) => form.values.hours !== '' || at === 'open' || at === 'night')
            .map((at) => {
              const { kind } = form.values[at];
              return (
                <Group key={at} align="flex-start" gap="sm">
                  <Select
                    style={{ flex: '2 1 12rem' }}
                    label={at === 'open' && form.values.hours === '' ? texts.goes : texts[at]}
                    data={Object.entries(texts.kinds)
                      .filter(([value]) => value !== '' || at !== 'open')
                      .map(([value, label]) => ({ value, label }))}
                    allowDeselect={false}
                    error={form.errors[at]}
                    {...form.getInputProps(`${at}.kind`)}
                  />
                  {['extension', 'direct', 'number'].includes(kind) && (
                    <TextInput style={{ flex: '1 1 8rem' }} label={kind === 'direct' ? texts.directTarget : texts.target} {...form.getInputProps(`${at}.number`)} />
                  )}
                  {kind === 'number' && <TextInput style={{ flex: '1 1 8rem' }} label={texts.as} {...form.getInputProps(`${at}.as`)} />}
                </Group>
              );
            })}
          <Switch label={routing.on} {...form.getInputProps('enabled', { type: 'checkbox' })} />
        </>
      )}
    </Editor>
  );
}
