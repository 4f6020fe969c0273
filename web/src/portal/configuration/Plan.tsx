import { Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import type { ConfigurationPlan } from '../../shared/api';
import { asProblem, type Problem } from '../../shared/problems';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { Panel } from '../../shared/ui/Page';
import { common } from '../../texts/common';
import { configuration as texts } from '../../texts/configuration';
import css from './Plan.module.css';
import { apply, lineOf, planOf, removedTenants, same, type Source } from './plan';

export interface Shown {
  source: Source;
  plan: ConfigurationPlan;
  /** Asks for the deed at once. */
  asking?: boolean;
  /** Somebody changed the settings since it was seen. */
  stale?: boolean;
}

function counts(plan: ConfigurationPlan): string {
  const of = (verb: string) => plan.changes.filter((c) => c.verb === verb).length;
  return texts.counts(of('add'), of('change'), of('remove'));
}

/** What a document or a revision would change, and the deed. */
export function Plan({ shown, show }: { shown: Shown; show: (next: Shown | null) => void }) {
  const { source, plan } = shown;
  const deed = 'rev' in source ? texts.restore : texts.apply;
  const ask = (asking: boolean) => show({ ...shown, asking });
  useEffect(() => {
    document.getElementById('plan')?.scrollIntoView({ block: 'start' });
  }, [source]);
  return (
    <div id="plan" style={{ scrollMarginTop: 72 }}>
      <Panel
        flush
        title={'rev' in source ? texts.planOf(source.rev) : texts.plan}
        action={
          plan.changes.length > 0 && (
            <Group gap="sm">
              <Text size="sm" c="dimmed" visibleFrom="sm">
                {counts(plan)}
              </Text>
              <Button size="compact-md" onClick={() => ask(true)}>
                {deed}
              </Button>
            </Group>
          )
        }
      >
        {shown.stale && (
          <div className={css.notice}>
            <Notice tone="warn" title={texts.meanwhile}>
              {texts.meanwhileText}
            </Notice>
          </div>
        )}
        {plan.changes.length === 0 ? (
          <div className={css.notice}>
            <Notice tone="ok" title={texts.nothing}>
              {texts.nothingText}
            </Notice>
          </div>
        ) : (
          <Changes plan={plan} />
        )}
        {plan.more && (
          <div className={css.notice} data-after>
            <Notice tone="info" title={texts.more} />
          </div>
        )}
      </Panel>
      <Modal
        opened={shown.asking === true && plan.changes.length > 0}
        onClose={() => ask(false)}
        title={<Text fw={620}>{'rev' in source ? texts.confirmRestore(source.rev) : texts.confirmApply}</Text>}
        closeButtonProps={{ 'aria-label': common.close }}
      >
        <Deed shown={shown} deed={deed} show={show} />
      </Modal>
    </div>
  );
}

function Changes({ plan }: { plan: ConfigurationPlan }) {
  return (
    <ul className={css.list}>
      {plan.changes.map((c, i) => (
        <li key={i} className={css.change} data-verb={c.verb}>
          <div className={css.head}>
            <span className={css.verb}>{texts.verbs[c.verb]}</span>
            <span className={css.object}>{c.object}</span>
            {c.line > 0 && <span className={css.line}>{texts.line(c.line)}</span>}
          </div>
          {c.fields.map((f) => (
            <div key={f.field} className={css.field}>
              <span>{f.field}:</span>
              {c.verb !== 'add' && <del>{f.was || texts.empty}</del>}
              {c.verb === 'change' && (
                <span aria-label={texts.becomes} role="img">
                  →
                </span>
              )}
              {c.verb !== 'remove' && <ins>{f.is || texts.empty}</ins>}
            </div>
          ))}
        </li>
      ))}
    </ul>
  );
}

/** Asks once; whole organisations go only if their names are typed. */
function Deed({ shown, deed, show }: { shown: Shown; deed: string; show: (next: Shown | null) => void }) {
  const { source, plan } = shown;
  const queries = useQueryClient();
  const [typed, setTyped] = useState('');
  const gone = removedTenants(plan);
  const phrase = gone.join(' ');
  const run = useMutation({
    mutationFn: async () => {
      // What is done is what was seen.
      const now = await planOf(source);
      return same(now, plan) ? { done: await apply(source, gone.length > 0) } : { now };
    },
    onSuccess: ({ done, now }) => {
      if (now) return show({ source, plan: now, stale: true });
      show(null);
      notifications.show({ message: texts.done(done.rev) });
      return queries.invalidateQueries();
    },
  });
  return (
    <form
      noValidate
      onSubmit={(e) => {
        e.preventDefault();
        run.mutate();
      }}
    >
      <Stack gap="md">
        <Text size="sm">{texts.effect(counts(plan))}</Text>
        {gone.length > 0 && <TextInput label={texts.organisations(gone.length) + phrase} value={typed} autoComplete="off" onChange={(e) => setTyped(e.currentTarget.value)} />}
        {run.error && <Refusal problem={asProblem(run.error)} />}
        <Group justify="flex-end" gap="sm">
          <Button variant="default" onClick={() => show({ ...shown, asking: false })}>
            {common.cancel}
          </Button>
          <Button type="submit" color={gone.length > 0 ? 'red.8' : undefined} loading={run.isPending} disabled={typed.trim() !== phrase} data-testid="deed">
            {deed}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** Why a document is refused, by line and field. */
export function Refusal({ problem }: { problem: Problem }) {
  if (problem.status !== 422 || problem.reasons.length === 0) return <ProblemNotice problem={problem} />;
  return (
    <Notice tone="bad" title={texts.refused}>
      {texts.refusedText}
      <ul className={css.list}>
        {problem.reasons.map(({ field, text }, i) => (
          <li key={i}>
            {lineOf(field) > 0 && <strong>{texts.line(lineOf(field))}: </strong>}
            {text}
          </li>
        ))}
      </ul>
    </Notice>
  );
}
