import { Button, NumberInput, Select, Stack } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { client, take, type Tenant } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { tenantQuery } from '../../shared/queries';
import { ProblemNotice } from '../../shared/ui/Notice';
import { Panel } from '../../shared/ui/Page';
import { common } from '../../texts/common';
import { callRules as texts } from '../../texts/media';
import { countries } from '../../texts/tones';
import { MediaSecurity } from '../MediaSecurity';

const fields = ['media_security', 'session_timers', 'session_expires_seconds', 'session_min_seconds', 'dead_media_seconds', 'tones', 'music_on_hold'];
const timers = (['accept', 'require', 'refuse'] as const).map((value) => ({ value, label: texts.timerModes[value] }));
const music = (['pbx', 'phone'] as const).map((value) => ({ value, label: texts.musicSources[value] }));
const tones = Object.entries(countries)
  .map(([value, label]) => ({ value, label }))
  .sort((a, b) => a.label.localeCompare(b.label));

/** How the calls of the organisation are set up and watched. */
export function CallSettings({ tenant }: { tenant: Tenant }) {
  const queries = useQueryClient();
  const { calls } = tenant;
  const form = useForm({
    initialValues: {
      ...calls,
      session_expires_seconds: calls.session_expires_seconds as number | string,
      session_min_seconds: calls.session_min_seconds as number | string,
      dead_media_seconds: calls.dead_media_seconds as number | string,
    },
  });
  const save = useMutation({
    mutationFn: (v: typeof form.values) => {
      const { name, digest, tls_only, max_contacts, qualify_seconds, qualify_failures } = tenant;
      return take(
        client.PUT('/api/v1/tenant', {
          body: {
            ...{ name, digest, tls_only, max_contacts, qualify_seconds, qualify_failures },
            calls: {
              ...v,
              session_expires_seconds: Number(v.session_expires_seconds),
              session_min_seconds: Number(v.session_min_seconds),
              dead_media_seconds: Number(v.dead_media_seconds),
            },
          },
        }),
      );
    },
    onSuccess: (saved, values) => {
      queries.setQueryData(tenantQuery.queryKey, saved);
      form.resetDirty(values);
      notifications.show({ message: texts.saved });
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), fields, Object.fromEntries(fields.map((f) => [`calls.${f}`, f]))),
  });
  const problem = save.error && asProblem(save.error);
  const timed = form.values.session_timers !== 'refuse';
  return (
    <Panel title={texts.panel}>
      <form noValidate onSubmit={form.onSubmit((v) => save.mutate(v))}>
        <Stack gap="md">
          {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
          <MediaSecurity label={texts.mediaNew} description={texts.mediaNewHint} {...form.getInputProps('media_security')} />
          <Select label={texts.timers} description={texts.timersHint} data={timers} allowDeselect={false} {...form.getInputProps('session_timers')} />
          <NumberInput label={texts.expires} description={texts.expiresHint} min={0} max={86400} suffix=" s" clampBehavior="none" thousandSeparator="" allowDecimal={false} disabled={!timed} {...form.getInputProps('session_expires_seconds')} />
          <NumberInput label={texts.least} description={texts.leastHint} min={0} max={3600} suffix=" s" clampBehavior="none" thousandSeparator="" allowDecimal={false} disabled={!timed} {...form.getInputProps('session_min_seconds')} />
          <NumberInput label={texts.dead} description={texts.deadHint} min={0} max={86400} suffix=" s" clampBehavior="none" thousandSeparator="" allowDecimal={false} {...form.getInputProps('dead_media_seconds')} />
          <Select label={texts.tones} description={texts.tonesHint} data={tones} allowDeselect={false} searchable {...form.getInputProps('tones')} />
          <Select label={texts.music} description={texts.musicHint} data={music} allowDeselect={false} {...form.getInputProps('music_on_hold')} />
          <div>
            <Button type="submit" loading={save.isPending} disabled={!form.isDirty()}>
              {common.save}
            </Button>
          </div>
        </Stack>
      </form>
    </Panel>
  );
}
