import { Button, Drawer, SegmentedControl, Text, TextInput } from '@mantine/core';
import { IconHistory } from '@tabler/icons-react';
import { keepPreviousData, useInfiniteQuery, useSuspenseQuery } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { client, take, type CallRecord } from '../../shared/api';
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

type Kind = 'all' | 'answered' | 'missed';

function useRecords(extension: string | undefined) {
  return useInfiniteQuery({
    queryKey: ['cdrs', 'pages', extension ?? ''],
    queryFn: ({ pageParam }) =>
      take(client.GET('/api/v1/cdrs', { params: { query: { limit: 200, before: pageParam || undefined, extension } } })),
    initialPageParam: '',
    getNextPageParam: (last) => last.next || undefined,
    placeholderData: keepPreviousData,
  });
}

export function CallRecords() {
  const navigate = useNavigate();
  const { extension } = useSearch({ from: '/shell/cdrs' });
  const query = useRecords(extension);
  const [kind, setKind] = useState<Kind>('all');
  const [open, setOpen] = useState<CallRecord | null>(null);
  const all = useMemo(() => query.data?.pages.flatMap((p) => p.items), [query.data]);
  const rows = useMemo(
    () => all?.filter((r) => kind === 'all' || (r.answered_at !== undefined) === (kind === 'answered')),
    [all, kind],
  );
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
              <SegmentedControl
                size="sm"
                value={kind}
                onChange={(v) => setKind(v as Kind)}
                data={[
                  { value: 'all', label: texts.all },
                  { value: 'answered', label: texts.answered },
                  { value: 'missed', label: texts.missed },
                ]}
              />
            </>
          }
          empty={
            <Empty icon={<IconHistory size={22} />} title={extension ? texts.noneFor(extension) : texts.none}>
              {extension ? texts.noneForText : texts.noneText}
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
