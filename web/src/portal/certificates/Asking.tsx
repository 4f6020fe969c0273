import { Button, Group, Progress, Stack, Text } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import { client, take, type ACME } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { acmeQuery, certificatesQuery } from '../../shared/queries';
import { Facts } from '../../shared/ui/Facts';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { State, type Tone } from '../../shared/ui/State';
import { Elapsed, When } from '../../shared/ui/Ticking';
import { acme as texts } from '../../texts/certificates';
import { Names } from './Names';

const tones: Record<ACME['state'], Tone> = { off: 'idle', waiting: 'ok', asking: 'live', failed: 'bad' };
const askingMs = 1500;

/** How asking goes, now and the last time; `fresh` says that a newer report of the names is on the page. */
export function Asking({ state, dirty, fresh }: { state: ACME; dirty: boolean; fresh: boolean }) {
  const queries = useQueryClient();
  // When the authority had last been asked before the button was pressed. The
  // request is taken before the attempt begins, which is why the state alone
  // does not say that it is over.
  const [before, setBefore] = useState<string | null | undefined>();
  const busy = state.state === 'asking' || (before !== undefined && state.tried_at === before);
  useQuery({ ...acmeQuery, refetchInterval: busy ? askingMs : 30_000 });
  const was = useRef(busy);
  useEffect(() => {
    if (was.current && !busy) void queries.invalidateQueries({ queryKey: certificatesQuery.queryKey });
    was.current = busy;
  }, [busy, queries]);
  const ask = useMutation({
    mutationFn: () => take(client.POST('/api/v1/acme/ask')),
    onMutate: () => setBefore(state.tried_at),
    onSuccess: (now) => queries.setQueryData(acmeQuery.queryKey, now),
    onError: () => setBefore(undefined),
  });
  const why = dirty ? texts.askSave : !state.enabled ? texts.askOff : undefined;
  return (
    <Stack gap="md">
      <Facts
        items={[
          [texts.state, <State key="state" tone={busy ? 'live' : tones[state.state]} pulse={busy}>{texts.states[busy ? 'asking' : state.state]}</State>],
          [texts.tried, state.tried_at ? <When key="tried" at={state.tried_at} /> : undefined],
          [texts.failures, state.failures > 0 ? String(state.failures) : undefined],
          [texts.next, state.next_at && !busy ? <When key="next" at={state.next_at} /> : undefined],
        ]}
      />
      {busy && (
        <div role="status">
          <Group justify="space-between" mb={6}>
            <Text size="sm" fw={500}>
              {texts.asking}
            </Text>
            {state.state === 'asking' && state.tried_at && <Elapsed from={state.tried_at} />}
          </Group>
          <Progress value={100} animated aria-label={texts.asking} />
          <Text size="sm" c="dimmed" mt={6}>
            {texts.askingText}
          </Text>
        </div>
      )}
      {!busy && state.error !== '' && (
        <Notice tone="bad" title={texts.failed}>
          {state.error[0]!.toUpperCase() + state.error.slice(1)}
        </Notice>
      )}
      {!busy && before !== undefined && state.error === '' && (
        <Notice tone="ok" title={texts.got}>
          {texts.gotText}
        </Notice>
      )}
      {!busy && !fresh && state.error !== '' && state.name_reports.length > 0 && <Names title={texts.lastReport} reports={state.name_reports} />}
      {ask.error && <ProblemNotice problem={asProblem(ask.error)} />}
      <Group gap="sm">
        <Button variant="default" disabled={why !== undefined || busy} loading={ask.isPending} onClick={() => ask.mutate()}>
          {texts.ask}
        </Button>
        {why && (
          <Text size="sm" c="dimmed">
            {why}
          </Text>
        )}
      </Group>
    </Stack>
  );
}
