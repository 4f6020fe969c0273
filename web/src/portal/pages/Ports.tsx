import { Button, Modal, SegmentedControl, Text } from '@mantine/core';
import { IconShieldLock } from '@tabler/icons-react';
import { useQuery, useSuspenseQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import type { Port } from '../../shared/api';
import { bytes, count } from '../../shared/format';
import { asProblem } from '../../shared/problems';
import { pollMs, portsQuery, sessionQuery, statusQuery } from '../../shared/queries';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Notice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { State, type Tone } from '../../shared/ui/State';
import { common } from '../../texts/common';
import { dashboard } from '../../texts/dashboard';
import { ports as texts } from '../../texts/system';
import { PortFilter } from '../security/PortFilter';
import { PortForm } from './PortForm';
import { PortRules } from './PortRules';

const tones: Record<Port['state'], Tone> = { open: 'ok', closed: 'idle', failed: 'bad', unavailable: 'idle' };

const portText = (p: Port) => (p.first === p.last ? String(p.first) : `${p.first}–${p.last}`);

function zones(p: Port): string {
  const all = p.zones.length === Object.keys(texts.zoneNames).length;
  const where = all ? texts.everywhere : p.zones.map((z) => texts.zoneNames[z] ?? z).join(', ');
  return p.sources.length === 0 ? where : `${where}; ${texts.onlyFrom(p.sources.length)}`;
}

const columns: readonly Column<Port>[] = [
  {
    id: 'service',
    header: texts.service,
    value: (p) => p.name,
    cell: (p) => (
      <span title={p.doc} style={{ fontWeight: 550 }}>
        {p.name}
      </span>
    ),
  },
  { id: 'port', header: texts.port, end: true, value: (p) => p.first, cell: portText },
  {
    id: 'protocol',
    header: texts.protocol,
    value: (p) => `${p.proto} ${texts.speaks[p.speaks] ?? p.speaks}`,
    cell: (p) => (
      <span className="nowrap">
        {texts.speaks[p.speaks] ?? p.speaks} <span className="dimmed">/ {p.proto.toUpperCase()}</span>
      </span>
    ),
  },
  {
    id: 'state',
    header: texts.state,
    value: (p) => texts.states[p.state],
    cell: (p) => (
      <span title={p.error || undefined}>
        <State tone={tones[p.state]}>{texts.states[p.state]}</State>
      </span>
    ),
  },
  { id: 'zones', header: texts.zones, value: zones, cell: (p) => <span title={p.sources.join(', ') || undefined}>{zones(p)}</span> },
  { id: 'packets', header: texts.packets, end: true, value: (p) => p.packets, cell: (p) => count(p.packets) },
  { id: 'bytes', header: texts.bytes, end: true, value: (p) => p.bytes, cell: (p) => bytes(p.bytes) },
  { id: 'side', header: texts.side, value: (p) => texts.sides[p.side] ?? p.side },
  { id: 'default', header: texts.defaultOn, value: (p) => (p.default_on ? texts.yes : texts.no), hidden: true },
  { id: 'doc', header: texts.doc, value: (p) => p.doc, hidden: true },
];

export function Ports() {
  // Counters run without events.
  const query = useQuery({ ...portsQuery, refetchInterval: pollMs });
  const box = useSuspenseQuery(sessionQuery).data.role === 'system_admin';
  const fence = useQuery(statusQuery).data?.fence;
  const [which, setWhich] = useState('all');
  const [changing, setChanging] = useState<Port | null>(null);
  const all = query.data?.items;
  const rows = useMemo(() => all?.filter((p) => which === 'all' || (p.state === 'open') === (which === 'open')), [all, which]);
  const failed = all?.filter((p) => p.state === 'failed') ?? [];
  return (
    <Page title={texts.title} lead={texts.lead}>
      {fence?.active === false && (
        <Notice tone="warn" title={dashboard.noFence}>
          {texts.noCounters}
        </Notice>
      )}
      {failed.map((p) => (
        <Notice key={p.id} tone="bad" title={`${p.name}, ${portText(p)}`}>
          {p.error}
        </Notice>
      ))}
      <Panel flush>
        <DataTable
          name="ports"
          noun={texts.noun}
          columns={columns}
          rows={rows}
          rowKey={(p) => p.id}
          rowActions={
            box
              ? (p) => (
                  <Button size="compact-sm" variant="default" aria-label={texts.changeOf(p.name)} onClick={() => setChanging(p)}>
                    {texts.change}
                  </Button>
                )
              : undefined
          }
          problem={query.error && asProblem(query.error)}
          filters={
            <SegmentedControl
              size="sm"
              value={which}
              onChange={setWhich}
              data={[
                { value: 'all', label: texts.all },
                { value: 'open', label: texts.open },
                { value: 'other', label: texts.other },
              ]}
            />
          }
          empty={
            <Empty icon={<IconShieldLock size={22} />} title={texts.none}>
              {texts.noneText}
            </Empty>
          }
        />
      </Panel>
      <Modal opened={changing !== null} onClose={() => setChanging(null)} title={<Text fw={620}>{changing ? texts.changeOf(changing.name) : texts.change}</Text>} closeButtonProps={{ 'aria-label': common.close }}>
        {changing && <PortForm port={changing} onDone={() => setChanging(null)} />}
      </Modal>
      {box && <PortFilter />}
      <PortRules />
    </Page>
  );
}
