import { Button, NumberInput, Stack, Switch, TagsInput, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { client, take, type Extension } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { extensionsQuery, ownQuery } from '../../shared/queries';
import { ProblemNotice } from '../../shared/ui/Notice';
import { extensions as texts } from '../../texts/extensions';
import css from '../pages/pages.module.css';

const fields = ['forward_always', 'forward_busy', 'forward_no_answer', 'forward_unregistered', 'max_calls', 'ring_also'];

/** What becomes of calls to an extension, or to one's own. */
export function Handling({ extension, own = false }: { extension: Extension; own?: boolean }) {
  const queries = useQueryClient();
  const form = useForm({
    initialValues: { ...extension.call_handling, max_calls: extension.call_handling.max_calls as number | string },
  });
  const save = useMutation({
    mutationFn: async (v: typeof form.values) => {
      const handling = { ...v, max_calls: Number(v.max_calls) };
      if (own) return void (await take(client.PUT('/api/v1/own/call-handling', { body: handling })));
      await take(
        client.PUT('/api/v1/extensions/{number}', {
          params: { path: { number: extension.number } },
          body: {
            display_name: extension.display_name,
            no_answer_seconds: extension.no_answer_seconds,
            call_handling: handling,
          },
        }),
      );
    },
    onSuccess: async (_saved, values) => {
      form.resetDirty(values);
      await queries.invalidateQueries({ queryKey: own ? ownQuery.queryKey : extensionsQuery.queryKey });
      notifications.show({ message: texts.saved });
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), fields, Object.fromEntries(fields.map((f) => [`call_handling.${f}`, f]))),
  });
  const problem = save.error && asProblem(save.error);
  return (
    <section className={css.section}>
      <h3>{texts.handling}</h3>
      <form onSubmit={form.onSubmit((v) => save.mutate(v))}>
        <Stack gap="md">
          {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
          <Switch label={texts.disturb} description={texts.disturbHint} {...form.getInputProps('do_not_disturb', { type: 'checkbox' })} />
          <TextInput label={texts.always} description={texts.alwaysHint} maxLength={32} {...form.getInputProps('forward_always')} />
          <TextInput label={texts.busy} maxLength={32} {...form.getInputProps('forward_busy')} />
          <TextInput label={texts.unanswered} maxLength={32} {...form.getInputProps('forward_no_answer')} />
          <TextInput label={texts.unregistered} maxLength={32} {...form.getInputProps('forward_unregistered')} />
          <NumberInput label={texts.limit} description={texts.limitHint} min={0} max={32} allowDecimal={false} {...form.getInputProps('max_calls')} />
          <TagsInput label={texts.ringAlso} description={texts.ringAlsoHint} maxTags={8} {...form.getInputProps('ring_also')} />
          <div>
            <Button type="submit" loading={save.isPending} disabled={!form.isDirty()}>
              {texts.handlingApply}
            </Button>
          </div>
        </Stack>
      </form>
    </section>
  );
}
