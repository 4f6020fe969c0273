import { IconDeviceLandlinePhone } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useMemo } from 'react';
import type { Extension, Port, Registration } from '../../shared/api';
import { span } from '../../shared/format';
import { asProblem } from '../../shared/problems';
import { extensionsQuery, portsQuery, registrationsQuery } from '../../shared/queries';
import { useNow } from '../../shared/time';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { ButtonLink } from '../../shared/ui/ButtonLink';
import { Empty } from '../../shared/ui/Empty';
import { Notice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { State, type Tone } from '../../shared/ui/State';
import { Ago } from '../../shared/ui/Ticking';
import { common } from '../../texts/common';
import { registrations as texts } from '../../texts/extensions';
import css from './pages.module.css';

const tones: Record<Registration['state'], Tone> = { reachable: 'ok', unreachable: 'bad', waiting: 'idle' };

function Left({ until }: { until: string }) {
  const now = useNow(5000);
  return <span className="tabular">{span((Date.parse(until) - now.getTime()) / 1000)}</span>;
}

export function registrationColumns(extensions: readonly Extension[], ports: readonly Port[] = []): Column<Registration>[] {
  const names = new Map(extensions.map((e) => [e.number, e.display_name]));
  const services = new Map(ports.map((p) => [p.id, p.name]));
  return [
    {
      id: 'number',
      header: texts.number,
      value: (r) => r.number,
      cell: (r) => (
        <span className={css.party}>
          <span className={css.partyNumber}>{r.number}</span>
          <span className={css.partyName}>{names.get(r.number)}</span>
        </span>
      ),
    },
    { id: 'phone', header: texts.phone, value: (r) => r.user_agent, cell: (r) => r.user_agent || <span className="dimmed">{texts.unnamed}</span> },
    {
      id: 'state',
      header: texts.state,
      value: (r) => texts.states[r.state],
      cell: (r) => (
        <span title={texts.stateHints[r.state]}>
          <State tone={tones[r.state]}>{texts.states[r.state]}</State>
        </span>
      ),
    },
    { id: 'source', header: texts.source, value: (r) => r.source, cell: (r) => <span className="mono">{r.source}</span> },
    { id: 'via', header: texts.via, value: (r) => services.get(r.listener) ?? r.listener },
    { id: 'since', header: texts.since, value: (r) => r.registered_at, cell: (r) => <Ago at={r.registered_at} /> },
    { id: 'expires', header: texts.expires, value: (r) => r.expires_at, end: true, cell: (r) => <Left until={r.expires_at} /> },
    { id: 'rtt', header: texts.rtt, value: (r) => r.rtt_ms, end: true, cell: (r) => (r.rtt_ms > 0 ? `${r.rtt_ms.toFixed(r.rtt_ms < 10 ? 1 : 0)} ms` : '') },
    { id: 'contact', header: texts.contact, value: (r) => r.contact, hidden: true, cell: (r) => <span className="mono">{r.contact}</span> },
  ];
}

export function Registrations() {
  const navigate = useNavigate();
  const query = useQuery(registrationsQuery);
  const extensions = useQuery(extensionsQuery).data?.items;
  const ports = useQuery(portsQuery).data?.items;
  const columns = useMemo(() => registrationColumns(extensions ?? [], ports ?? []), [extensions, ports]);
  return (
    <Page title={texts.title} lead={texts.lead}>
      {query.data?.more && <Notice tone="info" title={common.cut} />}
      <Panel flush>
        <DataTable
          name="registrations"
          noun={texts.noun}
          columns={columns}
          rows={query.data?.items}
          rowKey={(r) => `${r.number} ${r.contact}`}
          problem={query.error && asProblem(query.error)}
          initialSort={{ id: 'number', desc: false }}
          onRow={(r) => void navigate({ to: '/extensions', search: { number: r.number } })}
          empty={
            <Empty
              icon={<IconDeviceLandlinePhone size={22} />}
              title={texts.none}
              action={
                <ButtonLink to="/extensions">
                  {texts.toExtensions}
                </ButtonLink>
              }
            >
              {texts.noneText}
            </Empty>
          }
        />
      </Panel>
    </Page>
  );
}
