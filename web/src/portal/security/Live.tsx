import { Button, Group, SegmentedControl, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconShieldCheck } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { client, take, type Attack, type PacketHistory, type Port } from '../../shared/api';
import { count } from '../../shared/format';
import { asProblem } from '../../shared/problems';
import { attackSummaryQuery, attacksQuery, bansQuery, packetHistoryQuery, portsQuery, type HistoryRange } from '../../shared/queries';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { ProblemNotice } from '../../shared/ui/Notice';
import { Panel } from '../../shared/ui/Page';
import { Areas } from '../../shared/ui/Plot';
import { Ago } from '../../shared/ui/Ticking';
import { attacks as texts, security } from '../../texts/security';
import css from '../pages/pages.module.css';
import { colours, stacked } from './causes';

/** What attackers do now, and did. */
export function LiveAttacks({ onAllow }: { onAllow: (source: string) => void }) {
  const [range, setRange] = useState<HistoryRange>('1h');
  const history = useQuery(packetHistoryQuery(range));
  return (
    <div className={css.stack}>
      <Now />
      {history.error && <ProblemNotice problem={asProblem(history.error)} />}
      <Panel
        flush
        title={texts.dropped}
        action={
          <SegmentedControl
            size="xs"
            aria-label={texts.range}
            value={range}
            onChange={(v) => setRange(v as HistoryRange)}
            data={(['1h', '24h', '30d'] as const).map((value) => ({ value, label: texts.ranges[value] }))}
          />
        }
      >
        {history.data && <Drops history={history.data} range={range} />}
      </Panel>
      <Feed onAllow={onAllow} />
      {history.data && <PortCounters history={history.data} range={range} />}
    </div>
  );
}

function Now() {
  const sum = useQuery(attackSummaryQuery).data;
  const figures = [
    [texts.lastHour, sum && count(sum.last_hour), texts.lastHourHint],
    [texts.bannedNow, sum && count(sum.banned), texts.bannedNowHint],
    [texts.droppedHour, sum && count(sum.dropped), texts.droppedHourHint],
    [texts.rateNow, sum && (sum.counted ? count(Math.round(sum.rate)) : '–'), sum?.counted === false ? texts.notCounted : texts.rateNowHint],
  ] as const;
  return (
    <div className={css.stats}>
      {figures.map(([label, value, hint]) => (
        <div key={label} className={css.stat}>
          <span className={css.statLabel}>{label}</span>
          <span className={css.statValue}>{value ?? '–'}</span>
          <span className={css.statHint}>{hint}</span>
        </div>
      ))}
    </div>
  );
}

function Drops({ history, range }: { history: PacketHistory; range: HistoryRange }) {
  const lines = useMemo(() => stacked(history), [history]);
  const series = useMemo(() => lines.map((l) => ({ label: texts.groups[l.group].name, colour: colours[l.group], values: l.values })), [lines]);
  if (!history.known.includes(true)) {
    return (
      <Text size="sm" c="dimmed" p="md">
        {texts.nothingCounted}
      </Text>
    );
  }
  const total = lines.reduce((sum, l) => sum + l.total, 0);
  return (
    <div className={css.chart}>
      <Areas label={texts.plotLabel(count(total), texts.ranges[range])} times={history.times} series={series} />
      <ul className={css.causes}>
        {lines.length === 0 && <li>{texts.noDrops}</li>}
        {lines.map((l) => (
          <li key={l.group}>
            <i style={{ background: `var(${colours[l.group]})` }} aria-hidden />
            <strong>{texts.groups[l.group].name}</strong> <span className="tabular">{count(l.total)}</span>
            <span className="dimmed">{texts.groups[l.group].means}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}

function feedColumns(): Column<Attack>[] {
  return [
    { id: 'at', header: texts.when, value: (a) => a.at, cell: (a) => <Ago at={a.at} /> },
    { id: 'source', header: security.source, value: (a) => a.source, cell: (a) => <span className="mono">{a.source}</span> },
    { id: 'reason', header: security.reason, value: (a) => a.reason, grow: true },
    { id: 'scope', header: security.scope, value: (a) => security.scopes[a.scope] },
    { id: 'port', header: texts.port, value: (a) => a.port },
    { id: 'count', header: security.count, value: (a) => (a.level === 0 && a.count > 0 ? a.count : null), end: true },
    { id: 'agent', header: security.agent, value: (a) => a.user_agent },
    { id: 'target', header: security.target, value: (a) => a.target, cell: (a) => <span className="mono">{a.target}</span>, hidden: true },
  ];
}

/** The journal, the newest first. */
function Feed({ onAllow }: { onAllow: (source: string) => void }) {
  const queries = useQueryClient();
  const query = useQuery(attacksQuery);
  const held = useQuery(bansQuery).data?.items;
  const columns = useMemo(feedColumns, []);
  const banned = useMemo(() => new Set(held?.map((b) => `${b.source} ${b.scope}`)), [held]);
  const unban = useMutation({
    mutationFn: (a: Attack) => take(client.DELETE('/api/v1/security/bans', { params: { query: { source: a.source, scope: a.scope } } })),
    onSuccess: (_, a) => notifications.show({ message: security.unbanned(a.source) }),
    onError: (thrown) => notifications.show({ color: 'red', message: asProblem(thrown).title }),
    onSettled: () => queries.invalidateQueries({ queryKey: bansQuery.queryKey }),
  });
  return (
    <Panel flush title={texts.feed}>
      <DataTable
        name="attacks"
        noun={texts.noun}
        columns={columns}
        rows={query.data?.items}
        rowKey={(a) => String(a.id)}
        problem={query.error && asProblem(query.error)}
        initialSort={{ id: 'at', desc: true }}
        rowActions={(a) =>
          banned.has(`${a.source} ${a.scope}`) ? (
            <Group gap="xs" wrap="nowrap" justify="flex-end">
              <Button size="compact-sm" variant="default" onClick={() => unban.mutate(a)}>
                {security.unban}
              </Button>
              <Button size="compact-sm" variant="default" onClick={() => onAllow(a.source)}>
                {security.allow}
              </Button>
            </Group>
          ) : (
            <Text size="sm" c="dimmed">
              {texts.over}
            </Text>
          )
        }
        empty={
          <Empty icon={<IconShieldCheck size={22} />} title={texts.none}>
            {texts.noneText}
          </Empty>
        }
      />
    </Panel>
  );
}

interface PortLine {
  port: Port;
  packets: number;
}

function portColumns(range: HistoryRange): Column<PortLine>[] {
  return [
    { id: 'name', header: texts.service, value: (l) => l.port.name, grow: true },
    { id: 'port', header: texts.port, value: (l) => l.port.first, cell: (l) => `${l.port.proto} ${l.port.first === l.port.last ? l.port.first : `${l.port.first}–${l.port.last}`}` },
    { id: 'packets', header: texts.letIn(texts.ranges[range]), end: true, value: (l) => l.packets, cell: (l) => count(l.packets) },
    { id: 'all', header: texts.letInAll, end: true, value: (l) => l.port.packets, cell: (l) => count(l.port.packets) },
  ];
}

/** What was let in, by port. */
function PortCounters({ history, range }: { history: PacketHistory; range: HistoryRange }) {
  const ports = useQuery(portsQuery).data?.items;
  const columns = useMemo(() => portColumns(range), [range]);
  const rows = useMemo(() => {
    const totals = new Map(history.ports.map((p) => [p.name, p.total]));
    return ports?.filter((p) => p.state === 'open' || totals.has(p.id)).map((port) => ({ port, packets: totals.get(port.id) ?? 0 }));
  }, [ports, history]);
  return (
    <Panel flush title={texts.ports}>
      <DataTable plain name="port-counters" noun="ports" columns={columns} rows={rows} rowKey={(l) => l.port.id} empty={null} />
    </Panel>
  );
}
