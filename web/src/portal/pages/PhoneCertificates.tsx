import { Button, Radio, Stack, Text, Textarea } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { client, take, type ClientCertificates } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { dateTime } from '../../shared/format';
import { asProblem } from '../../shared/problems';
import { clientCertificatesQuery } from '../../shared/queries';
import { serverNow } from '../../shared/time';
import { Facts } from '../../shared/ui/Facts';
import { ProblemNotice } from '../../shared/ui/Notice';
import { Panel } from '../../shared/ui/Page';
import { common } from '../../texts/common';
import { certificates as texts } from '../../texts/transports';

const modes = ['off', 'verify', 'require'] as const;

/** Whether phones on SIP over TLS show a certificate. */
export function PhoneCertificates() {
  const query = useQuery(clientCertificatesQuery);
  return (
    <Panel title={texts.panel}>
      {query.error && <ProblemNotice problem={asProblem(query.error)} />}
      {query.data && <Form state={query.data} />}
    </Panel>
  );
}

function Form({ state }: { state: ClientCertificates }) {
  const queries = useQueryClient();
  const form = useForm({ initialValues: { mode: state.mode, authorities: state.authorities } });
  const save = useMutation({
    mutationFn: (body: typeof form.values) => take(client.PUT('/api/v1/client-certificates', { body })),
    onSuccess: (saved, values) => {
      queries.setQueryData(clientCertificatesQuery.queryKey, saved);
      form.resetDirty(values);
      notifications.show({ message: texts.saved });
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), ['mode', 'authorities']),
  });
  const problem = save.error && asProblem(save.error);
  return (
    <form noValidate onSubmit={form.onSubmit((v) => save.mutate(v))}>
      <Stack gap="md" maw={680}>
        <Text size="sm" c="dimmed">
          {texts.text}
        </Text>
        {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
        <Radio.Group label={texts.mode} {...form.getInputProps('mode')}>
          <Stack gap={10} mt={8}>
            {modes.map((m) => (
              <Radio key={m} value={m} label={texts.modes[m]} description={texts.modeHints[m]} />
            ))}
          </Stack>
        </Radio.Group>
        {state.issuers.length > 0 && (
          <div>
            <Text size="sm" fw={500} mb={4}>
              {texts.issuers}
            </Text>
            <Facts
              items={state.issuers.map((i) => [
                i.name,
                new Date(i.expires_at) < serverNow() ? texts.expired : texts.expires(dateTime(new Date(i.expires_at))),
              ])}
            />
          </div>
        )}
        <Textarea
          label={texts.authorities}
          description={texts.authoritiesHint}
          placeholder="-----BEGIN CERTIFICATE-----"
          autosize
          minRows={3}
          maxRows={12}
          spellCheck={false}
          styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 12.5 } }}
          {...form.getInputProps('authorities')}
        />
        <div>
          <Button type="submit" loading={save.isPending} disabled={!form.isDirty()}>
            {common.save}
          </Button>
        </div>
      </Stack>
    </form>
  );
}
