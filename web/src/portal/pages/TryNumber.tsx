import { Button, Group, SegmentedControl, Select, Stack, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useMutation, useQuery } from '@tanstack/react-query';
import { client, take } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { extensionsQuery } from '../../shared/queries';
import type { components } from '../../shared/schema';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { State } from '../../shared/ui/State';
import { trying as texts } from '../../texts/routing';
import { numberingQuery, trunksQuery } from '../routing/queries';

type Plan = components['schemas']['DialPlan'];

/** The dry run: a question, and the answer of the code that decides. */
export function TryNumber() {
  const extensions = useQuery(extensionsQuery).data?.items ?? [];
  const trunks = useQuery(trunksQuery).data ?? [];
  const form = useForm({ initialValues: { from: 'inside', extension: null as string | null, trunk: null as string | null, caller: '', number: '' } });
  const { values: v } = form;
  const ask = useMutation({
    mutationFn: () =>
      take(
        client.POST('/api/v1/dialplan/try', {
          body: v.from === 'inside' ? { number: v.number, extension: v.extension ?? extensions[0]?.number ?? '' } : { number: v.number, trunk: Number(v.trunk ?? trunks[0]?.id ?? 0), caller: v.caller },
        }),
      ),
    onError: (thrown) => placeProblem(form, asProblem(thrown), ['extension', 'trunk', 'caller', 'number']),
  });
  const problem = ask.error && asProblem(ask.error);
  return (
    <Page title={texts.title} lead={texts.lead}>
      <Panel>
        <form noValidate onSubmit={form.onSubmit(() => ask.mutate())}>
          <Stack gap="md">
            {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
            <SegmentedControl
              aria-label={texts.from}
              data={[
                { value: 'inside', label: texts.inside },
                { value: 'outside', label: texts.outside },
              ]}
              {...form.getInputProps('from')}
            />
            <Group align="flex-start" gap="sm">
              {v.from === 'inside' ? (
                <Select
                  style={{ flex: '1 1 12rem' }}
                  searchable
                  label={texts.extension}
                  data={extensions.map((e) => ({ value: e.number, label: `${e.number} ${e.display_name}` }))}
                  {...form.getInputProps('extension')}
                  value={v.extension ?? extensions[0]?.number ?? null}
                />
              ) : (
                <>
                  <Select
                    style={{ flex: '1 1 10rem' }}
                    label={texts.trunk}
                    data={trunks.map((t) => ({ value: String(t.id), label: t.name }))}
                    {...form.getInputProps('trunk')}
                    value={v.trunk ?? (trunks[0] ? String(trunks[0].id) : null)}
                  />
                  <TextInput style={{ flex: '1 1 10rem' }} label={texts.caller} placeholder={texts.callerHint} {...form.getInputProps('caller')} />
                </>
              )}
              <TextInput style={{ flex: '1 1 12rem' }} label={texts.number} inputMode="tel" {...form.getInputProps('number')} />
            </Group>
            <div>
              <Button type="submit" loading={ask.isPending} disabled={v.number.trim() === ''}>
                {texts.try}
              </Button>
            </div>
          </Stack>
        </form>
      </Panel>
      {ask.data && <Answer plan={ask.data} />}
    </Page>
  );
}

function Answer({ plan }: { plan: Plan }) {
  const currency = useQuery(numberingQuery).data?.currency ?? '';
  const good = plan.outcome === 'outside' || plan.outcome === 'extension';
  const verdict = plan.verdict.charAt(0).toUpperCase() + plan.verdict.slice(1);
  return (
    <Stack gap="md" data-testid="answer">
      <Notice tone={good ? 'ok' : 'warn'} title={verdict} />
      {(plan.attempts ?? []).length > 0 && (
        <Panel title={texts.attempts}>
          <ol style={{ margin: 0, paddingLeft: '1.3rem', lineHeight: 1.8 }}>
            {(plan.attempts ?? []).map((a, i) => (
              <li key={i}>
                <strong>{a.trunk_name}</strong>: <span className="mono">{texts.attempt(a.number, a.caller_id)}</span>
                {a.minute_price !== undefined && <span className="dimmed"> · {texts.price(`${(a.minute_price / 1e6).toFixed(4)} ${currency}`)}</span>}
              </li>
            ))}
          </ol>
        </Panel>
      )}
      <Panel title={texts.why}>
        <ol style={{ margin: 0, padding: 0, listStyle: 'none', display: 'grid', gap: 8 }}>
          {(plan.steps ?? []).map((s, i) => (
            <li key={i} style={{ display: 'grid', gridTemplateColumns: '7.5rem minmax(0, 1fr)', gap: 12, lineHeight: 1.5 }}>
              <State tone={s.ok ? 'ok' : 'idle'}>{texts.topics[s.topic] ?? s.topic}</State>
              <span className={s.ok ? undefined : 'dimmed'}>
                {s.name && <strong>{s.name} </strong>}
                {s.text}
              </span>
            </li>
          ))}
        </ol>
      </Panel>
    </Stack>
  );
}
