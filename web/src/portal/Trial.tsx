import { Button, Group, Stack, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState, type ReactNode } from 'react';
import { client, onTrial, take, type SettingsTrial, type Status } from '../shared/api';
import { dateTime } from '../shared/format';
import { asProblem } from '../shared/problems';
import { statusQuery } from '../shared/queries';
import { serverNow, useNow } from '../shared/time';
import { Notice, ProblemNotice } from '../shared/ui/Notice';
import { Panel } from '../shared/ui/Page';
import { trial as texts } from '../texts/trial';
import { confirmChange } from './confirm';

interface CountdownProps {
  /** When it returns, by the server's clock. */
  until: number;
  /** The server does not answer here. */
  lost: boolean;
  keepLabel: string;
  keep: () => Promise<void>;
  revert: () => Promise<unknown>;
  onDone: (message: string) => void;
  children: ReactNode;
}

/** A change that is taken back unless it is kept in time: of the network or of settings. */
export function Countdown({ until, lost, keepLabel, keep, revert, onDone, children }: CountdownProps) {
  useEffect(() => {
    window.scrollTo({ top: 0 }); // the button that began it stands at the bottom
  }, []);
  const left = Math.max(0, Math.ceil((until - useNow().getTime()) / 1000));
  const keeping = useMutation({ mutationFn: keep, onSuccess: () => onDone(texts.kept) });
  const reverting = useMutation({ mutationFn: revert, onSuccess: () => onDone(texts.returned) });
  const problem = keeping.error ?? reverting.error;
  return (
    <Panel title={left > 0 ? texts.title(left) : texts.over}>
      <Stack gap="md">
        {children}
        {lost && <Notice tone="warn" title={texts.noAnswer} />}
        {problem && <ProblemNotice problem={asProblem(problem)} />}
        <Group>
          <Button loading={keeping.isPending} disabled={left === 0} onClick={() => keeping.mutate()}>
            {keepLabel}
          </Button>
          <Button variant="default" loading={reverting.isPending} disabled={left === 0} onClick={() => reverting.mutate()}>
            {texts.takeBack}
          </Button>
        </Group>
      </Stack>
    </Panel>
  );
}

const askMs = 3000;

/** On every page: the change of settings that waits, and the one that was taken back. */
export function TrialBanner() {
  const queries = useQueryClient();
  const [closed, setClosed] = useState('');
  const query = useQuery({ ...statusQuery, retry: false, refetchInterval: (q) => (q.state.data?.trial?.pending ? askMs : false) });
  const { pending, reverted } = query.data?.trial ?? {};
  // The answer to a change brings it at once: the next request may not get through.
  useEffect(
    () =>
      onTrial((t) => {
        void queries.cancelQueries({ queryKey: statusQuery.queryKey });
        queries.setQueryData(statusQuery.queryKey, (old) => old && { ...old, trial: { pending: t } });
      }),
    [queries],
  );
  const before = useRef(pending?.id);
  useEffect(() => {
    // Everything may be as it was again.
    if (before.current !== undefined && pending === undefined) void queries.invalidateQueries();
    before.current = pending?.id;
  }, [queries, pending?.id]);
  if (pending) return <Pending key={pending.id} trial={pending} lost={query.isError} />;
  if (!reverted || reverted.at === closed) return null;
  return (
    <div style={{ marginBottom: 24 }}>
      <Notice tone="warn" title={texts.returned}>
        <Group gap="md">
          <span>
            {reverted.reason}, {dateTime(new Date(reverted.at))}
          </span>
          <Button size="compact-sm" variant="default" onClick={() => setClosed(reverted.at)}>
            {texts.dismiss}
          </Button>
        </Group>
      </Notice>
    </div>
  );
}

function Pending({ trial, lost }: { trial: SettingsTrial; lost: boolean }) {
  const queries = useQueryClient();
  const [until] = useState(() => serverNow().getTime() + trial.seconds_left * 1000);
  const moves = trial.where !== window.location.origin;
  const keep = async () => {
    if (!moves) return confirmChange('settings', trial.id);
    // Only the page of the new origin may confirm, and only by getting there.
    window.location.assign(`${trial.where}/confirm-settings#${trial.id}`);
    return new Promise<void>(() => {});
  };
  const done = (message: string) => {
    notifications.show({ message });
    queries.setQueryData(statusQuery.queryKey, (old: Status | undefined) => old && { ...old, trial: undefined });
    void queries.invalidateQueries({ queryKey: statusQuery.queryKey });
  };
  return (
    <div style={{ marginBottom: 24 }}>
      <Countdown
        until={until}
        lost={lost}
        keepLabel={texts.keep}
        keep={keep}
        revert={() => take(client.POST('/api/v1/settings/trial/revert'))}
        onDone={done}
      >
        <Text>{texts.text(trial.changes.map((c) => texts.changes[c] ?? c).join(', '))}</Text>
        {moves && <Text>{texts.moves(trial.where.replace('https://', ''))}</Text>}
      </Countdown>
    </div>
  );
}
