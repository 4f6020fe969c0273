import { Button } from '@mantine/core';
import { IconClipboardList } from '@tabler/icons-react';
import { useInfiniteQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { client, take, type AuditEntry } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Page, Panel } from '../../shared/ui/Page';
import { When } from '../../shared/ui/Ticking';
import { common } from '../../texts/common';
import { audit as texts } from '../../texts/system';
import css from './pages.module.css';

const columns: readonly Column<AuditEntry>[] = [
  { id: 'time', header: texts.time, value: (a) => a.at, cell: (a) => <When at={a.at} /> },
  { id: 'actor', header: texts.actor, value: (a) => a.actor, cell: (a) => <span style={{ fontWeight: 550 }}>{a.actor}</span> },
  { id: 'action', header: texts.action, value: (a) => texts.actions[a.action] ?? a.action.replace(/[._]/g, ' ') },
  { id: 'object', header: texts.object, value: (a) => a.object },
  { id: 'address', header: texts.address, value: (a) => a.address, cell: (a) => <span className="mono">{a.address || common.none}</span> },
  { id: 'kind', header: texts.kind, value: (a) => texts.kinds[a.kind] ?? a.kind, hidden: true },
  { id: 'revision', header: texts.revision, end: true, value: (a) => a.rev },
];

export function Audit() {
  const query = useInfiniteQuery({
    queryKey: ['audit'],
    queryFn: ({ pageParam }) => take(client.GET('/api/v1/audit', { params: { query: { limit: 200, before: pageParam || undefined } } })),
    initialPageParam: '',
    getNextPageParam: (last) => last.next || undefined,
  });
  const rows = useMemo(() => query.data?.pages.flatMap((p) => p.items), [query.data]);
  return (
    <Page title={texts.title} lead={texts.lead}>
      <Panel flush>
        <DataTable
          name="audit"
          noun={texts.noun}
          columns={columns}
          rows={rows}
          rowKey={(a) => String(a.id)}
          problem={query.error && asProblem(query.error)}
          searchHint={query.hasNextPage ? texts.searchHint : undefined}
          empty={
            <Empty icon={<IconClipboardList size={22} />} title={texts.none}>
              {texts.noneText}
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
    </Page>
  );
}
