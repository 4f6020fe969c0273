import { Button } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { client, take, type PersonSession } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { sessionsQuery } from '../../shared/queries';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { ProblemNotice } from '../../shared/ui/Notice';
import { Panel } from '../../shared/ui/Page';
import { State } from '../../shared/ui/State';
import { When } from '../../shared/ui/Ticking';
import { sessions as texts } from '../../texts/signin';
import { browserName } from './browser';

const columns: readonly Column<PersonSession>[] = [
  { id: 'browser', header: texts.browser, grow: true, value: (s) => browserName(s.browser) || texts.unknown, cell: (s) => <span title={s.browser}>{browserName(s.browser) || texts.unknown}</span> },
  { id: 'address', header: texts.address, value: (s) => s.address },
  { id: 'seen', header: texts.seen, value: (s) => s.seen, cell: (s) => <When at={s.seen} /> },
];

/** Where the own account is signed in, and the way to end it. */
export function Sessions() {
  const queries = useQueryClient();
  const query = useQuery(sessionsQuery);
  const changed = () => queries.invalidateQueries({ queryKey: sessionsQuery.queryKey });
  const end = useMutation({
    mutationFn: (session: string) => take(client.DELETE('/api/v1/sessions/{session}', { params: { path: { session } } })),
    onSettled: changed,
    onSuccess: () => notifications.show({ message: texts.ended }),
  });
  const endOthers = useMutation({
    mutationFn: () => take(client.DELETE('/api/v1/sessions')),
    onSettled: changed,
    onSuccess: () => notifications.show({ message: texts.othersEnded }),
  });
  const failed = end.error ?? endOthers.error;
  const others = (query.data?.items ?? []).some((s) => !s.own);
  return (
    <Panel
      title={texts.title}
      flush
      action={
        <Button size="compact-sm" variant="default" disabled={!others} loading={endOthers.isPending} onClick={() => endOthers.mutate()}>
          {texts.endOthers}
        </Button>
      }
    >
      {failed && <ProblemNotice problem={asProblem(failed)} />}
      <DataTable
        name="sessions"
        noun={texts.noun}
        plain
        columns={columns}
        rows={query.data?.items}
        rowKey={(s) => s.id}
        problem={query.error && asProblem(query.error)}
        rowActions={(s) =>
          s.own ? (
            <State tone="ok">{texts.own}</State>
          ) : (
            <Button size="compact-sm" variant="default" onClick={() => end.mutate(s.id)}>
              {texts.end}
            </Button>
          )
        }
        empty={texts.none}
      />
    </Panel>
  );
}
