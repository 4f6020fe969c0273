import { Anchor, Button, Group, Select, Text, Textarea } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { IconPlus } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { client, take, type Network as State, type NetworkChange } from '../../shared/api';
import { dateTime } from '../../shared/format';
import { asProblem } from '../../shared/problems';
import { networkQuery } from '../../shared/queries';
import { serverNow } from '../../shared/time';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { network as texts } from '../../texts/network';
import { confirmChange } from '../confirm';
import { entryOf, newOrigins, newVLAN, placeOf, rowsOf, words, type NetworkForm } from '../network';
import { Countdown } from '../Trial';
import { NetworkRow, PortFacts } from './NetworkRow';
import css from './pages.module.css';

const windows = [60, 120, 300];
const mostRows = 32;

/** The machine's interfaces, and how they are set. */
export function Network() {
  const [trial, setTrial] = useState<Trial>();
  const query = useQuery({ ...networkQuery, refetchInterval: trial ? 3000 : 15_000, retry: false });
  const state = query.data;
  const pending = state?.pending;
  useEffect(() => {
    if (pending) setTrial((t) => (t?.id === pending.id ? t : { ...deadline(pending), origins: t?.origins ?? [] }));
    else if (state && !query.isFetching) setTrial(undefined);
  }, [state, pending, query.isFetching]);
  return (
    <Page title={texts.title} lead={texts.lead}>
      <div className={`${css.stack} ${css.narrow}`}>
        {trial && <Pending trial={trial} lost={query.isError} onDone={() => setTrial(undefined)} />}
        {query.error && !trial && <ProblemNotice problem={asProblem(query.error)} />}
        {state && !state.managed && (
          <Notice tone="info" title={texts.elsewhere}>
            {texts.elsewhereText}
          </Notice>
        )}
        {state && !trial && state.reverted && (
          <Notice tone="warn" title={texts.returned}>
            {state.reverted.reason}, {dateTime(new Date(state.reverted.at))}
          </Notice>
        )}
        {state?.error && (
          <Notice tone="bad" title={texts.failed}>
            {state.error}
          </Notice>
        )}
        {state && !state.managed && state.interfaces.map((p) => (
          <Panel key={p.name} title={p.name}>
            <PortFacts port={p} />
          </Panel>
        ))}
        {/* While a change is tried the form shows it; anew when another is in effect. */}
        {state?.managed && <Form key={JSON.stringify([state.settings, state.ntp])} state={state} onTry={setTrial} />}
      </div>
    </Page>
  );
}

interface Trial {
  id: string;
  until: number; // of the server's clock
  origins: string[];
}

function deadline(c: NetworkChange): Trial {
  return { id: c.id, until: serverNow().getTime() + c.seconds_left * 1000, origins: [] };
}

/** Counts down, and leads to where the change can be confirmed. */
function Pending({ trial, lost, onDone }: { trial: Trial; lost: boolean; onDone: () => void }) {
  const queries = useQueryClient();
  const settled = (message: string) => {
    notifications.show({ message });
    onDone();
    void queries.invalidateQueries({ queryKey: networkQuery.queryKey });
  };
  return (
    <Countdown
      until={trial.until}
      lost={lost}
      keepLabel={texts.confirmHere}
      keep={() => confirmChange('network', trial.id)}
      revert={() => take(client.POST('/api/v1/network/revert'))}
      onDone={settled}
    >
      <Text>{texts.pendingText}</Text>
      {trial.origins.map((o) => (
        <Anchor key={o} href={`${o}/confirm-network#${trial.id}`} target="_blank" rel="noopener">
          {texts.goTo(o.replace('https://', ''))}
        </Anchor>
      ))}
      <Text size="sm" c="dimmed">
        {texts.dhcpHint}
      </Text>
    </Countdown>
  );
}

function Form({ state, onTry }: { state: State; onTry: (t: Trial) => void }) {
  const [within, setWithin] = useState(windows[0]!);
  const form = useForm<NetworkForm>({ initialValues: { rows: rowsOf(state.settings, state.interfaces), ntp: state.ntp.join('\n') } });
  const { rows } = form.values;
  const save = useMutation({
    mutationFn: (v: NetworkForm) =>
      take(client.PUT('/api/v1/network', { body: { interfaces: v.rows.filter((r) => r.use).map(entryOf), ntp: words(v.ntp), confirm_seconds: within } })),
    onSuccess: (change) => onTry({ ...deadline(change), origins: newOrigins(rows, new URL(window.location.href)) }),
    onError: (thrown) => {
      const errors: Record<string, string> = {};
      for (const [field, reason] of Object.entries(asProblem(thrown).fields)) errors[placeOf(rows, field)] = reason;
      form.setErrors(errors);
    },
  });
  const problem = save.error && asProblem(save.error);
  const astray = problem ? Object.keys(problem.fields).filter((f) => !/^(rows\.|ntp$)/.test(placeOf(rows, f))) : [];
  const below = rows.filter((r) => r.vlan === 0).map((r) => r.port || r.name);
  return (
    <form noValidate onSubmit={form.onSubmit((v) => save.mutate(v))}>
      <div className={css.stack}>
        {rows.map((row, i) => (
          // Rows have no identity but their place.
          <NetworkRow
            key={i}
            form={form}
            at={i}
            port={state.interfaces.find((p) => p.name === row.port)}
            links={below}
            onRemove={() => form.removeListItem('rows', i)}
          />
        ))}
        <Panel title={texts.time}>
          <Textarea label={texts.timeServers} description={texts.timeServersHint} autosize minRows={1} spellCheck={false} {...form.getInputProps('ntp')} />
        </Panel>
        {problem && (Object.keys(problem.fields).length === 0 || astray.length > 0) && <ProblemNotice problem={problem} />}
        {astray.map((f) => (
          <Text key={f} c="red.8" size="sm">
            {problem?.fields[f]}
          </Text>
        ))}
        <Group align="flex-end">
          <Button variant="default" leftSection={<IconPlus size={16} />} disabled={rows.length >= mostRows || below.length === 0} onClick={() => form.insertListItem('rows', newVLAN(below[0] ?? ''))}>
            {texts.addVlan}
          </Button>
          <Select
            label={texts.within}
            allowDeselect={false}
            data={windows.map((s) => ({ value: String(s), label: texts.withinOption(s) }))}
            value={String(within)}
            onChange={(v) => setWithin(Number(v))}
            w={150}
          />
          <Button type="submit" loading={save.isPending} disabled={!form.isDirty()}>
            {texts.try}
          </Button>
        </Group>
      </div>
    </form>
  );
}
