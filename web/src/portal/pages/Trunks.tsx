import { Button, Collapse, Group, NumberInput, PasswordInput, Radio, Select, Stack, Switch, TagsInput, TextInput } from '@mantine/core';
import { IconPlus, IconRouter } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Page, Panel } from '../../shared/ui/Page';
import { State, type Tone } from '../../shared/ui/State';
import { When } from '../../shared/ui/Ticking';
import { media } from '../../texts/media';
import { routing, trunks as texts } from '../../texts/routing';
import { MediaSecurity } from '../MediaSecurity';
import { Editor } from '../routing/Editor';
import { didsQuery, trunksQuery, trunkStatesQuery, type Trunk, type TrunkState } from '../routing/queries';
import { parseRange, rangeText } from '../routing/ranges';

const tones: Record<TrunkState['condition'], Tone> = { up: 'ok', down: 'bad', refused: 'bad', starting: 'warn', off: 'idle', unknown: 'idle' };

type Row = Trunk & { state?: TrunkState };

const columns: readonly Column<Row>[] = [
  { id: 'name', header: routing.name, grow: true, value: (t) => t.name, cell: (t) => <span style={{ fontWeight: 550 }}>{t.name}</span> },
  { id: 'kind', header: texts.kind, value: (t) => texts.kinds[t.kind] },
  { id: 'host', header: texts.host, value: (t) => t.host, cell: (t) => <span className="mono">{t.host || t.user}</span> },
  { id: 'state', header: texts.state, value: (t) => t.state?.condition ?? '', cell: (t) => <Condition state={t.state} /> },
  {
    id: 'calls',
    header: texts.calls,
    end: true,
    value: (t) => t.state?.calls ?? 0,
    cell: (t) => texts.ofCalls(t.state?.calls ?? 0, t.max_calls),
  },
  { id: 'numbers', header: texts.numbers, value: (t) => t.dids.map(rangeText).join(', '), hidden: true },
];

function Condition({ state }: { state: TrunkState | undefined }) {
  if (!state) return null;
  return (
    <span title={state.reason || state.target}>
      <State tone={tones[state.condition]}>{texts.conditions[state.condition]}</State>{' '}
      {state.since && state.condition !== 'off' && (
        <span className="dimmed">
          <When at={state.since} />
        </span>
      )}
    </span>
  );
}

/** The ways to the outside world, with what is known of each now. */
export function Trunks() {
  const query = useQuery(trunksQuery);
  const states = useQuery(trunkStatesQuery).data;
  const [open, setOpen] = useState<Trunk | 'new' | null>(null);
  const rows = query.data?.map((t) => ({ ...t, state: states?.find((s) => s.trunk === t.id) }));
  const add = (
    <Button leftSection={<IconPlus size={17} />} onClick={() => setOpen('new')}>
      {texts.add}
    </Button>
  );
  return (
    <Page title={texts.title} lead={texts.lead} actions={add}>
      <Panel flush>
        <DataTable
          name="trunks"
          noun={texts.noun}
          columns={columns}
          rows={rows}
          rowKey={(t) => String(t.id)}
          problem={query.error && asProblem(query.error)}
          initialSort={{ id: 'name', desc: false }}
          onRow={setOpen}
          empty={
            <Empty icon={<IconRouter size={22} />} title={texts.none} action={add}>
              {texts.noneText}
            </Empty>
          }
        />
      </Panel>
      {open && <Form trunk={open === 'new' ? undefined : open} onClose={() => setOpen(null)} />}
    </Page>
  );
}

const kinds = ['peer', 'register', 'accept'] as const;

function valuesOf(t: Trunk | undefined) {
  return {
    kind: t?.kind ?? ('peer' as Trunk['kind']),
    name: t?.name ?? '',
    enabled: t?.enabled ?? true,
    host: t?.host ?? '',
    port: (t?.port ?? 0) as number | string,
    transport: t?.transport ?? ('udp' as Trunk['transport']),
    outbound_proxy: t?.outbound_proxy ?? '',
    interface: t?.interface ?? '',
    peers: t?.peers ?? [],
    user: t?.user ?? '',
    auth_user: t?.auth_user ?? '',
    password: '',
    options_seconds: (t?.options_seconds ?? 60) as number | string,
    media_security: t?.media_security ?? ('offer' as Trunk['media_security']),
    max_calls: (t?.max_calls ?? 0) as number | string,
    dids: (t?.dids ?? []).map(rangeText),
    number_format: t?.number_format ?? ('plus' as Trunk['number_format']),
    caller_id: t?.caller_id ?? '',
    keep_caller_id: t?.keep_caller_id ?? false,
    identity: t?.identity ?? ('from' as Trunk['identity']),
    trust_identity: t?.trust_identity ?? false,
    caps: (t?.caps.money_day ?? 0) as number | string,
  };
}

function bodyOf({ caps, password, ...v }: ReturnType<typeof valuesOf>) {
  const accept = v.kind === 'accept';
  return {
    ...v,
    host: accept ? '' : v.host.trim(),
    outbound_proxy: accept ? '' : v.outbound_proxy.trim(),
    port: Number(v.port),
    options_seconds: Number(v.options_seconds),
    max_calls: Number(v.max_calls),
    dids: v.dids.map(parseRange),
    caps: { money_day: Number(caps) },
    ...(password === '' ? {} : { password }),
  };
}

const choices = <T extends string>(names: Record<T, string>) => (Object.keys(names) as T[]).map((value) => ({ value, label: names[value] }));

/** Begins with the kind: everything else follows from it. */
function Form({ trunk, onClose }: { trunk: Trunk | undefined; onClose: () => void }) {
  const [more, setMore] = useState(false);
  const path = { params: { path: { trunk: trunk?.id ?? 0 } } };
  return (
    <Editor
      title={trunk?.name ?? texts.add}
      name={(v) => v.name}
      initial={valuesOf(trunk)}
      stale={[trunksQuery.queryKey, trunkStatesQuery.queryKey, didsQuery.queryKey]}
      save={(v) => (trunk ? take(client.PATCH('/api/v1/trunks/{trunk}', { ...path, body: bodyOf(v) })) : take(client.POST('/api/v1/trunks', { body: bodyOf(v) })))}
      remove={trunk && (() => take(client.DELETE('/api/v1/trunks/{trunk}', path)))}
      onClose={onClose}
    >
      {(form) => {
        const { kind } = form.values;
        return (
          <>
            <Radio.Group label={texts.kind} {...form.getInputProps('kind')}>
              <Stack gap="xs" mt={6}>
                {kinds.map((k) => (
                  <Radio key={k} value={k} label={k === 'peer' ? `${texts.kinds[k]} (${texts.recommended})` : texts.kinds[k]} description={texts.kindHints[k]} />
                ))}
              </Stack>
            </Radio.Group>
            <TextInput label={routing.name} maxLength={64} data-autofocus {...form.getInputProps('name')} />
            {kind !== 'accept' && (
              <Group align="flex-start" gap="sm">
                <TextInput style={{ flex: '3 1 12rem' }} label={texts.host} description={texts.hostHint} {...form.getInputProps('host')} />
                <NumberInput style={{ flex: '1 1 6rem' }} label={texts.port} description={texts.portHint} min={0} max={65535} {...form.getInputProps('port')} />
              </Group>
            )}
            <Select label={texts.transport} description={texts.transportHint} data={['udp', 'tcp', 'tls'].map((value) => ({ value, label: value.toUpperCase() }))} allowDeselect={false} {...form.getInputProps('transport')} />
            {kind === 'peer' && <TagsInput label={texts.peers} description={texts.peersHint} {...form.getInputProps('peers')} />}
            {kind !== 'peer' && (
              <>
                <TextInput label={kind === 'accept' ? texts.gatewayUser : texts.user} description={kind === 'accept' ? texts.gatewayUserHint : texts.userHint} autoComplete="off" {...form.getInputProps('user')} />
                <PasswordInput label={texts.password} description={trunk?.password_set ? texts.passwordKept : undefined} autoComplete="new-password" {...form.getInputProps('password')} />
              </>
            )}
            <TagsInput label={texts.numbers} description={texts.numbersHint} {...form.getInputProps('dids')} />
            <TextInput label={texts.callerID} description={texts.callerIDHint} maxLength={16} {...form.getInputProps('caller_id')} />
            <Group align="flex-start" gap="sm" grow>
              <NumberInput label={texts.maxCalls} description={texts.maxCallsHint} min={0} max={10000} {...form.getInputProps('max_calls')} />
              <NumberInput label={texts.capDay} description={texts.capDayHint} min={0} decimalScale={2} {...form.getInputProps('caps')} />
            </Group>
            <Switch label={routing.on} {...form.getInputProps('enabled', { type: 'checkbox' })} />
            <div>
              <Button variant="subtle" size="compact-sm" onClick={() => setMore(!more)} aria-expanded={more}>
                {texts.more}
              </Button>
            </div>
            <Collapse expanded={more}>
              <Stack gap="md">
                <MediaSecurity label={media.label} {...form.getInputProps('media_security')} />
                {kind === 'register' && <TextInput label={texts.authUser} description={texts.authUserHint} {...form.getInputProps('auth_user')} />}
                {kind !== 'accept' && <TextInput label={texts.proxy} {...form.getInputProps('outbound_proxy')} />}
                <TextInput label={texts.interface} description={texts.interfaceHint} {...form.getInputProps('interface')} />
                <Select label={texts.format} data={choices(texts.formats)} allowDeselect={false} {...form.getInputProps('number_format')} />
                <Select label={texts.identity} data={choices(texts.identities)} allowDeselect={false} {...form.getInputProps('identity')} />
                <NumberInput label={texts.options} description={texts.optionsHint} min={0} max={3600} {...form.getInputProps('options_seconds')} />
                <Switch label={texts.trust} {...form.getInputProps('trust_identity', { type: 'checkbox' })} />
                <Switch label={texts.keep} {...form.getInputProps('keep_caller_id', { type: 'checkbox' })} />
              </Stack>
            </Collapse>
          </>
        );
      }}
    </Editor>
  );
}
