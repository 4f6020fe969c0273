import { Button, Group, NumberInput, SimpleGrid, Stack, Switch, Text, Textarea } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { client, take, type Protection } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { protectionQuery } from '../../shared/queries';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { Panel } from '../../shared/ui/Page';
import { common } from '../../texts/common';
import { security as texts } from '../../texts/security';
import css from '../pages/pages.module.css';

/** How attackers are told from phones. */
export function Detection() {
  const query = useQuery(protectionQuery);
  return (
    <div className={css.narrow}>
      {query.error && <ProblemNotice problem={asProblem(query.error)} />}
      {query.data && <Form state={query.data} />}
    </div>
  );
}

const lines = (text: string) =>
  text
    .split('\n')
    .map((l) => l.trim())
    .filter(Boolean);

/** What the form holds: patterns one a line. */
function valuesOf(p: Protection) {
  return { ...p, user_agents: p.user_agents.join('\n'), session_names: p.session_names.join('\n') };
}

type Values = ReturnType<typeof valuesOf>;

function Form({ state }: { state: Protection }) {
  const queries = useQueryClient();
  const form = useForm<Values>({ initialValues: valuesOf(state) });
  const save = useMutation({
    mutationFn: (v: Values) => take(client.PUT('/api/v1/security/protection', { body: { ...v, user_agents: lines(v.user_agents), session_names: lines(v.session_names) } })),
    onSuccess: (saved) => {
      queries.setQueryData(protectionQuery.queryKey, saved);
      form.setValues(valuesOf(saved));
      form.resetDirty(valuesOf(saved));
      notifications.show({ message: texts.saved });
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), Object.keys(form.values)),
  });
  const problem = save.error && asProblem(save.error);
  // A pattern's reason names its line; the field holds them all.
  const rest = problem ? Object.entries(problem.fields).filter(([field]) => !(field in form.values)) : [];
  const number = (field: keyof Values, label: string, hint?: string) => (
    <NumberInput label={label} description={hint} allowDecimal={false} allowNegative={false} {...form.getInputProps(field)} />
  );
  return (
    <form noValidate onSubmit={form.onSubmit((v) => save.mutate(v))}>
      <Stack gap="md">
        {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
        {rest.map(([field, reason]) => (
          <Notice key={field} tone="bad" title={`${field}: ${reason}`} />
        ))}
        <Panel title={texts.detection}>
          <Stack gap="md">
            <Switch label={texts.detect} description={texts.detectHint} {...form.getInputProps('detect', { type: 'checkbox' })} />
            <SimpleGrid cols={{ base: 1, sm: 2 }}>
              {number('period_seconds', texts.period, texts.periodHint)}
              {number('ban_seconds', texts.ban, texts.banHint)}
              {number('wrong_answers', texts.wrong, texts.wrongHint)}
              {number('unanswered', texts.unanswered, texts.unansweredHint)}
              {number('names', texts.names, texts.namesHint)}
              {number('malformed', texts.malformed, texts.malformedHint)}
              {number('calls', texts.calls, texts.callsHint)}
              {number('unknown_numbers', texts.unknown, texts.unknownHint)}
            </SimpleGrid>
          </Stack>
        </Panel>
        <Panel title={texts.packets}>
          <Text size="sm" c="dimmed" mb="sm">
            {texts.packetsHint}
          </Text>
          <SimpleGrid cols={{ base: 2, sm: 4 }}>
            {number('level1', texts.level1)}
            {number('level1_ban_seconds', texts.level1Ban)}
            {number('level2', texts.level2)}
            {number('level2_ban_seconds', texts.level2Ban)}
          </SimpleGrid>
        </Panel>
        <Panel title={texts.tools}>
          <Stack gap="md">
            <SimpleGrid cols={{ base: 1, sm: 2 }}>
              <Textarea label={texts.agents} description={texts.agentsHint} autosize minRows={4} maxRows={12} spellCheck={false} {...form.getInputProps('user_agents')} />
              <Textarea label={texts.sessions} description={texts.sessionsHint} autosize minRows={4} maxRows={12} spellCheck={false} {...form.getInputProps('session_names')} />
            </SimpleGrid>
            <Switch label={texts.banTools} description={texts.banToolsHint} {...form.getInputProps('ban_tools', { type: 'checkbox' })} />
            <Switch label={texts.silent} description={texts.silentHint} {...form.getInputProps('silent_invite', { type: 'checkbox' })} />
          </Stack>
        </Panel>
        <Group>
          <Button type="submit" loading={save.isPending} disabled={!form.isDirty()}>
            {common.save}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
