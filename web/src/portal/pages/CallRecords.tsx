import { Button, Drawer, Group, NumberInput, SegmentedControl, Select, Text, TextInput } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import { notifications } from '@mantine/notifications';
import { IconDownload, IconHistory } from '@tabler/icons-react';
import { keepPreviousData, useInfiniteQuery, useMutation, useQuery, useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { client, take, type CallRecord } from '../../shared/api';
import { download } from '../../shared/csv';
import { clock, dateTime } from '../../shared/format';
import { asProblem } from '../../shared/problems';
import { sessionQuery } from '../../shared/queries';
import { DataTable } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Facts } from '../../shared/ui/Facts';
import { Page, Panel } from '../../shared/ui/Page';
import { records as texts, trace as traceTexts } from '../../texts/calls';
import { common } from '../../texts/common';
import { endReason, recordDetailColumns } from '../columns';
import { Ladder } from '../Ladder';
import { Party } from '../Party';
import { AlarmNotice, BothLegs } from '../Quality';
import { isAdmin } from '../roles';
import css from './pages.module.css';

interface Wanted {
  number: string;
  result: 'all' | 'answered' | 'missed';
  direction: 'all' | 'internal' | 'inbound' | 'outbound';
  /** Days, as the browser writes them; empty is no bound. */
  from: string;
  to: string;
}

const everything: Wanted = { number: '', result: 'all', direction: 'all', from: '', to: '' };

/** What the server is asked: days begin and end at midnight of whoever looks. */
function queryOf(w: Wanted, extension: string | undefined) {
  const midnight = (day: string, days: number) => {
    if (day === '') return undefined;
    const at = new Date(`${day}T00:00:00`);
    at.setDate(at.getDate() + days);
    return at.toISOString();
  };
  return {
    extension,
    number: w.number || undefined,
    result: w.result === 'all' ? undefined : w.result,
    direction: w.direction === 'all' ? undefined : w.direction,
    from: midnight(w.from, 0),
    to: midnight(w.to, 1),
  };
}

function useRecords(asked: ReturnType<typeof queryOf>) {
  return useInfiniteQuery({
    queryKey: ['cdrs', 'pages', asked],
    queryFn: ({ pageParam }) => take(client.GET('/api/v1/cdrs', { params: { query: { limit: 200, before: pageParam || undefined, ...asked } } })),
    initialPageParam: '',
    getNextPageParam: (last) => last.next || undefined,
    placeholderData: keepPreviousData,
  });
}

export function CallRecords() {
  const navigate = useNavigate();
  const { extension } = useSearch({ from: '/shell/cdrs' });
  const session = useSuspenseQuery(sessionQuery).data;
  const [wanted, setWanted] = useState(everything);
  const asked = queryOf(wanted, extension);
  const query = useRecords(asked);
  const [open, setOpen] = useState<CallRecord | null>(null);
  const rows = useMemo(() => query.data?.pages.flatMap((p) => p.items), [query.data]);
  const change = (part: Partial<Wanted>) => setWanted((w) => ({ ...w, ...part }));
  const chosen = extension !== undefined || wanted !== everything;
  return (
    <Page title={texts.title} lead={texts.lead}>
      <Panel flush>
        <DataTable
          name="call-records"
          noun={texts.noun}
          columns={recordDetailColumns}
          rows={rows}
          rowKey={(r) => r.id}
          problem={query.error && asProblem(query.error)}
          searchHint={query.hasNextPage ? texts.searchHint : undefined}
          onRow={setOpen}
          filters={
            <>
              <ExtensionFilter key={extension} value={extension ?? ''} onChange={(e) => void navigate({ to: '/cdrs', search: { extension: e || undefined } })} />
              <NumberFilter onChange={(number) => change({ number })} />
              <SegmentedControl
                size="sm"
                aria-label={texts.result}
                value={wanted.result}
                onChange={(v) => change({ result: v as Wanted['result'] })}
                data={[
                  { value: 'all', label: texts.all },
                  { value: 'answered', label: texts.answered },
                  { value: 'missed', label: texts.missed },
                ]}
              />
              <Select
                w={150}
                aria-label={texts.direction}
                value={wanted.direction}
                onChange={(v) => change({ direction: (v ?? 'all') as Wanted['direction'] })}
                data={Object.entries(texts.directions).map(([value, label]) => ({ value, label }))}
                allowDeselect={false}
              />
              <TextInput w={150} type="date" aria-label={texts.fromDay} title={texts.fromDay} value={wanted.from} max={wanted.to || undefined} onChange={(e) => change({ from: e.currentTarget.value })} />
              <TextInput w={150} type="date" aria-label={texts.toDay} title={texts.toDay} value={wanted.to} min={wanted.from || undefined} onChange={(e) => change({ to: e.currentTarget.value })} />
              <Export asked={asked} />
            </>
          }
          empty={
            <Empty icon={<IconHistory size={22} />} title={chosen ? texts.noneFound : texts.none}>
              {chosen ? texts.noneFoundText : texts.noneText}
            </Empty>
          }
          footer={
            query.hasNextPage && (
              <div className={css.more}>
                <Button variant="default" loading={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
                  {common.loadMore}
                </Button>
              </div>
            )
          }
        />
      </Panel>
      {isAdmin(session.role) && <KeepFor />}
      <Drawer
        opened={open !== null}
        onClose={() => setOpen(null)}
        size="lg"
        title={<Text fw={620}>{texts.detail}</Text>}
        closeButtonProps={{ 'aria-label': common.close }}
      >
        {open && <Detail record={open} />}
      </Drawer>
    </Page>
  );
}

function ExtensionFilter({ value, onChange }: { value: string; onChange: (v: string) => void }) {
  const [draft, setDraft] = useState(value);
  const usable = draft === '' || /^[0-9]{2,9}$/.test(draft);
  const commit = () => usable && draft !== value && onChange(draft);
  return (
    <TextInput
      w={128}
      aria-label={texts.extensionFilter}
      placeholder={texts.extensionFilter}
      inputMode="numeric"
      value={draft}
      error={!usable}
      onChange={(e) => setDraft(e.currentTarget.value.trim())}
      onBlur={commit}
      onKeyDown={(e) => e.key === 'Enter' && commit()}
    />
  );
}

/** A part of a number, asked for when one stops typing. */
function NumberFilter({ onChange }: { onChange: (v: string) => void }) {
  const [draft, setDraft] = useState('');
  const usable = /^[0-9+*#]{0,32}$/.test(draft);
  const commit = useDebouncedCallback(onChange, 350);
  return (
    <TextInput
      w={150}
      aria-label={texts.numberFilter}
      placeholder={texts.numberFilter}
      inputMode="tel"
      value={draft}
      error={!usable}
      onChange={(e) => {
        const v = e.currentTarget.value.replaceAll(/[\s()./-]/g, '');
        setDraft(v);
        if (/^[0-9+*#]{0,32}$/.test(v)) commit(v);
      }}
    />
  );
}

/** What is listed, and everything before it, as a file. */
function Export({ asked }: { asked: ReturnType<typeof queryOf> }) {
  const save = useMutation({
    mutationFn: async () => {
      const text = await take(client.GET('/api/v1/cdrs/csv', { params: { query: asked }, parseAs: 'text' }));
      download('calls.csv', 'text/csv', text as unknown as string);
    },
    onError: (thrown) => notifications.show({ color: 'red', title: texts.exportFailed, message: asProblem(thrown).title }),
  });
  return (
    <Button variant="default" leftSection={<IconDownload size={15} />} loading={save.isPending} onClick={() => save.mutate()}>
      {texts.exportCSV}
    </Button>
  );
}

/** How long records are kept. */
function KeepFor() {
  const query = useQuery({ queryKey: ['keeping'], queryFn: () => take(client.GET('/api/v1/keeping')) });
  return query.data && <KeepForm days={query.data.call_days} />;
}

function KeepForm({ days }: { days: number }) {
  const queries = useQueryClient();
  const [value, setValue] = useState<number | string>(days);
  const save = useMutation({
    mutationFn: () => take(client.PUT('/api/v1/keeping', { body: { call_days: Number(value) } })),
    onSuccess: (saved) => {
      queries.setQueryData(['keeping'], saved);
      notifications.show({ message: texts.keepSaved });
    },
  });
  const problem = save.error && asProblem(save.error);
  return (
    <Panel title={texts.keepTitle}>
      <Text size="sm" c="dimmed" mb="sm">
        {texts.keepLead}
      </Text>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          save.mutate();
        }}
      >
        <Group align="start">
          <NumberInput
            w={200}
            label={texts.keepDays}
            description={texts.keepDaysHint}
            min={0}
            max={3650}
            allowDecimal={false}
            value={value}
            onChange={setValue}
            error={problem ? (problem.fields['call_days'] ?? problem.title) : undefined}
          />
          <Button type="submit" mt={26} loading={save.isPending} disabled={value === '' || Number(value) === days}>
            {common.save}
          </Button>
        </Group>
      </form>
    </Panel>
  );
}

function Detail({ record: r }: { record: CallRecord }) {
  const session = useSuspenseQuery(sessionQuery).data;
  const at = (time: string | undefined) => (time === undefined ? undefined : dateTime(new Date(time)));
  return (
    <div className={css.sections}>
      <AlarmNotice alarm={r.alarm} />
      <section className={css.section}>
        <h3>{texts.parties}</h3>
        <Facts
          items={[
            [texts.caller, <Party party={r.caller} />],
            [texts.callee, <Party party={r.callee} />],
            [texts.reason, endReason(r.end_reason)],
            [texts.code, r.status_code || undefined],
            [texts.id, <span className="mono">{r.id}</span>],
          ]}
        />
      </section>
      <section className={css.section}>
        <h3>{texts.timing}</h3>
        <Facts
          items={[
            [texts.started, at(r.started_at)],
            [texts.answeredAt, at(r.answered_at)],
            [texts.ended, at(r.ended_at)],
            [texts.duration, r.answered_at === undefined ? undefined : clock(r.duration_seconds)],
          ]}
        />
      </section>
      <BothLegs call={r} />
      {isAdmin(session.role) && (
        <section className={css.section}>
          <h3>{traceTexts.title}</h3>
          <Ladder call={r.id} />
        </section>
      )}
    </div>
  );
}
