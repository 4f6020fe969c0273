import { Button } from '@mantine/core';
import { IconDeviceLandlinePhone, IconHistory, IconPhoneCall, IconUsers } from '@tabler/icons-react';
import { useQuery, useSuspenseQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { useMemo, type ReactNode } from 'react';
import type { CallRecord, Extension, Registration, Status } from '../../shared/api';
import { count, span } from '../../shared/format';
import { asProblem } from '../../shared/problems';
import { attackSummaryQuery, callsQuery, extensionsQuery, recentRecordsQuery, registrationsQuery, sessionQuery, statusQuery } from '../../shared/queries';
import { useNow } from '../../shared/time';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Facts } from '../../shared/ui/Facts';
import { Notice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { Bars } from '../../shared/ui/Plot';
import { State } from '../../shared/ui/State';
import { Ago } from '../../shared/ui/Ticking';
import { records as recordTexts } from '../../texts/calls';
import { dashboard as texts } from '../../texts/dashboard';
import { registrations as registrationTexts } from '../../texts/extensions';
import { attacks as attackTexts } from '../../texts/security';
import { callColumns, recordColumns } from '../columns';
import { perHour, today } from '../statistics';
import css from './pages.module.css';

export function Dashboard() {
  const status = useQuery(statusQuery).data;
  const recent = useQuery(recentRecordsQuery).data?.items;
  const { role } = useSuspenseQuery(sessionQuery).data;
  return (
    <Page title={texts.title}>
      <Warnings status={status} />
      <Figures records={recent} />
      <div className={css.grid}>
        <div className={css.stack}>
          <LiveCalls />
          <Chart records={recent} />
          <Recent />
        </div>
        <div className={css.stack}>
          <Box status={status} />
          {role === 'system_admin' && <Attacks />}
          <Phones />
        </div>
      </div>
    </Page>
  );
}

function Recent() {
  const records = useQuery(recentRecordsQuery);
  return (
    <Panel title={texts.recent} action={<Link to="/cdrs">{texts.allRecords}</Link>} flush>
      <DataTable
        plain
        name="recent-calls"
        noun="records"
        columns={recordColumns}
        rows={records.data?.items.slice(0, 8)}
        rowKey={(r) => r.id}
        problem={records.error && asProblem(records.error)}
        empty={
          <Empty icon={<IconHistory size={22} />} title={recordTexts.none}>
            {recordTexts.noneText}
          </Empty>
        }
      />
    </Panel>
  );
}

/** What needs attention, above everything else. */
function Warnings({ status }: { status: Status | undefined }) {
  if (status === undefined) return null;
  const behind = status.applied.filter((a) => a.error !== '');
  const troubled = status.fence.active && status.fence.error !== '';
  if (status.fence.active && !troubled && behind.length === 0 && status.notices.length === 0) return null;
  return (
    <div className={css.notices}>
      {!status.fence.active && (
        <Notice tone="warn" title={texts.noFence}>
          {texts.noFenceText}
          {status.fence.error !== '' && !status.fence.error.includes('no packet filter') && <div className="mono">{status.fence.error}</div>}
        </Notice>
      )}
      {troubled && (
        <Notice tone="bad" title={texts.fenceTrouble}>
          <div className="mono">{status.fence.error}</div>
          {texts.fenceTroubleText}
        </Notice>
      )}
      {status.notices.length > 0 && (
        <Notice tone="warn" title={texts.notice}>
          {status.notices.map((text) => (
            <div key={text}>{text}</div>
          ))}
        </Notice>
      )}
      {behind.map((a) => (
        <Notice key={a.subsystem} tone="bad" title={texts.notApplied(texts.subsystems[a.subsystem] ?? a.subsystem)}>
          <div className="mono">{a.error}</div>
          {texts.notAppliedText}
        </Notice>
      ))}
    </div>
  );
}

function Figures({ records }: { records: readonly CallRecord[] | undefined }) {
  const live = useQuery(callsQuery).data?.items;
  const extensions = useQuery(extensionsQuery).data?.items;
  const registrations = useQuery(registrationsQuery).data?.items;
  const now = useNow(60_000);
  const day = useMemo(() => today(records ?? [], now), [records, now]);
  const ringing = live?.filter((c) => c.state === 'ringing').length ?? 0;
  const reachable = extensions?.filter((e) => e.registrations > 0).length ?? 0;
  return (
    <div className={css.stats}>
      <Stat label={texts.liveCalls} value={live && count(live.length)} hint={texts.ringing(ringing)} />
      <Stat label={texts.phones} value={registrations && count(registrations.length)} hint={extensions && texts.ofExtensions(reachable, extensions.length)} />
      <Stat
        label={texts.callsToday}
        value={records && count(day.calls)}
        hint={day.calls === 0 ? texts.noneYet : texts.answered(Math.round((100 * day.answered) / day.calls))}
      />
      <Stat
        label={texts.talkToday}
        value={records && span(day.talkSeconds)}
        hint={day.answered === 0 ? texts.noneYet : texts.average(span(day.talkSeconds / day.answered))}
      />
    </div>
  );
}

function Stat({ label, value, hint }: { label: string; value: ReactNode; hint?: string }) {
  return (
    <div className={css.stat}>
      <span className={css.statLabel}>{label}</span>
      <span className={css.statValue}>{value ?? '–'}</span>
      <span className={css.statHint}>{value === undefined ? ' ' : hint}</span>
    </div>
  );
}

function LiveCalls() {
  const query = useQuery(callsQuery);
  return (
    <Panel title={texts.liveCalls} action={<Link to="/calls">{texts.allCalls}</Link>} flush>
      <DataTable
        plain
        name="live-calls"
        noun="calls"
        columns={callColumns}
        rows={query.data?.items.slice(0, 10)}
        rowKey={(c) => c.id}
        problem={query.error && asProblem(query.error)}
        empty={
          <Empty icon={<IconPhoneCall size={22} />} title={texts.noCalls}>
            {texts.noCallsText}
          </Empty>
        }
      />
    </Panel>
  );
}

function Chart({ records }: { records: readonly CallRecord[] | undefined }) {
  const now = useNow(60_000);
  const hour = Math.floor(now.getTime() / 3_600_000);
  const hours = useMemo(() => perHour(records ?? [], new Date(hour * 3_600_000)), [records, hour]);
  const series = useMemo(
    () => [
      { label: texts.chartAnswered, colour: '--rf-accent', values: hours.answered },
      { label: texts.chartMissed, colour: '--rf-line-strong', values: hours.missed },
    ],
    [hours],
  );
  const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);
  const answered = sum(hours.answered);
  return (
    <Panel
      title={texts.chart}
      flush
      action={
        <span className={css.legend}>
          {series.map((s) => (
            <span key={s.label}>
              <i style={{ background: `var(${s.colour})` }} aria-hidden />
              {s.label}
            </span>
          ))}
        </span>
      }
    >
      <div className={css.chart}>
        <Bars label={texts.chartLabel(answered + sum(hours.missed), answered)} times={hours.times} series={series} />
      </div>
    </Panel>
  );
}

function Box({ status }: { status: Status | undefined }) {
  const { tenant } = useSuspenseQuery(sessionQuery).data;
  const behind = status?.applied.filter((a) => a.error !== '').length ?? 0;
  return (
    <Panel title={texts.box}>
      {status && (
        <Facts
          items={[
            [texts.filter, status.fence.active ? <State tone="ok">{texts.filterActive}</State> : <State tone="warn">{texts.filterOff}</State>],
            [texts.settings, behind === 0 ? <State tone="ok">{texts.settingsApplied}</State> : <State tone="bad">{texts.settingsBehind(behind)}</State>],
            [texts.domain, tenant.domain || undefined],
            [texts.host, status.hostname || undefined],
            [texts.cloud, status.cloud === 'none' ? undefined : status.cloud],
            [texts.clock, status.clock && texts.clockBy(status.clock.server, status.clock.origin)],
            [texts.uptime, span(status.uptime_seconds)],
            [texts.version, status.version],
          ]}
        />
      )}
    </Panel>
  );
}

/** What attackers got, in numbers. */
function Attacks() {
  const sum = useQuery(attackSummaryQuery).data;
  return (
    <Panel title={attackTexts.card} action={<Link to="/security">{attackTexts.cardAll}</Link>}>
      {sum && (
        <Facts
          items={[
            [attackTexts.lastHour, count(sum.last_hour)],
            [attackTexts.bannedNow, count(sum.banned)],
            [attackTexts.droppedHour, count(sum.dropped)],
          ]}
        />
      )}
    </Panel>
  );
}

/** Narrow: who and with what, below each other; since when. */
function phoneColumns(extensions: readonly Extension[]): Column<Registration>[] {
  const names = new Map(extensions.map((e) => [e.number, e.display_name]));
  return [
    {
      id: 'number',
      header: registrationTexts.phone,
      grow: true,
      value: (r) => r.number,
      cell: (r) => (
        <div className={css.two}>
          <div>
            <span className={css.partyNumber}>{r.number}</span> {names.get(r.number)}
          </div>
          <div className={css.partyName} title={r.user_agent}>
            {r.user_agent || registrationTexts.unnamed}
          </div>
        </div>
      ),
    },
    { id: 'since', header: registrationTexts.since, end: true, value: (r) => r.registered_at, cell: (r) => <Ago at={r.registered_at} /> },
  ];
}

function Phones() {
  const navigate = useNavigate();
  const query = useQuery(registrationsQuery);
  const extensions = useQuery(extensionsQuery).data?.items;
  const first = extensions?.find((e) => e.registrations === 0);
  const newest = useMemo(() => query.data?.items.toSorted((a, b) => b.registered_at.localeCompare(a.registered_at)), [query.data]);
  const columns = useMemo(() => phoneColumns(extensions ?? []), [extensions]);
  return (
    <Panel title={texts.phones} action={<Link to="/registrations">{texts.allRegistrations}</Link>} flush>
      <DataTable
        plain
        name="phones"
        noun="registrations"
        columns={columns}
        rows={newest?.slice(0, 10)}
        rowKey={(r) => `${r.number} ${r.contact}`}
        problem={query.error && asProblem(query.error)}
        empty={
          extensions?.length === 0 ? (
            <Empty
              icon={<IconUsers size={22} />}
              title={texts.noExtensions}
              action={<Button onClick={() => void navigate({ to: '/extensions', search: { create: true } })}>{texts.newExtension}</Button>}
            >
              {texts.noExtensionsText}
            </Empty>
          ) : (
            <Empty
              icon={<IconDeviceLandlinePhone size={22} />}
              title={texts.noPhones}
              action={
                <Button variant="default" onClick={() => void navigate({ to: '/extensions', search: { number: first?.number } })}>
                  {texts.connectPhone}
                </Button>
              }
            >
              {texts.noPhonesText}
            </Empty>
          )
        }
      />
    </Panel>
  );
}
