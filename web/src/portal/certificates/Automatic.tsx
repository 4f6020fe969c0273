import { Button, Checkbox, Group, Radio, Stack, Switch, TagsInput, Text, Textarea, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { client, take, type ACME } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { acmeQuery } from '../../shared/queries';
import { ProblemNotice } from '../../shared/ui/Notice';
import { Panel } from '../../shared/ui/Page';
import { acme as texts } from '../../texts/certificates';
import { common } from '../../texts/common';
import { Asking } from './Asking';
import { Names } from './Names';

const authorities = ['standard', 'staging', 'other'] as const;
const fields = ['enabled', 'directory', 'roots', 'email', 'names', 'terms_agreed'];

/** Certificates by ACME: who is asked, for which names, and how that goes. */
export function Automatic() {
  const query = useQuery(acmeQuery);
  return (
    <Panel title={texts.panel}>
      {query.error && <ProblemNotice problem={asProblem(query.error)} />}
      {query.data && <Form state={query.data} />}
    </Panel>
  );
}

function valuesOf(a: ACME) {
  let authority: (typeof authorities)[number] = 'other';
  if (a.directory === '' || a.directory === a.default_directory) authority = 'standard';
  else if (a.directory === a.staging_directory) authority = 'staging';
  const { enabled, names, email, roots, terms_agreed } = a;
  return { enabled, authority, directory: authority === 'other' ? a.directory : '', roots, email, names, terms_agreed };
}

function bodyOf({ authority, ...v }: ReturnType<typeof valuesOf>, a: ACME) {
  const directory = { standard: '', staging: a.staging_directory, other: v.directory }[authority];
  return { ...v, directory, roots: authority === 'other' ? v.roots : '' };
}

/** Reasons at their fields; those of an entry of a list stand at the list. */
function reasons(thrown: unknown): Record<string, string> {
  const at: Record<string, string> = {};
  for (const [field, reason] of Object.entries(asProblem(thrown).fields)) at[field.split('.')[0]!] ??= reason;
  return at;
}

function Form({ state }: { state: ACME }) {
  const queries = useQueryClient();
  const form = useForm({ initialValues: valuesOf(state) });
  const save = useMutation({
    mutationFn: (v: typeof form.values) => take(client.PUT('/api/v1/acme', { body: bodyOf(v, state) })),
    onSuccess: (saved) => {
      queries.setQueryData(acmeQuery.queryKey, saved);
      form.setValues(valuesOf(saved));
      form.resetDirty(valuesOf(saved));
      notifications.show({ message: texts.saved });
    },
    onError: (thrown) => form.setErrors(reasons(thrown)),
  });
  const check = useMutation({
    mutationFn: (names: string[]) => take(client.POST('/api/v1/acme/check', { body: { names } })),
    onError: (thrown) => form.setErrors(reasons(thrown)),
  });
  const checkNames = () => {
    if (form.values.names.length === 0) form.setFieldError('names', texts.noNames);
    else check.mutate(form.values.names);
  };
  // A report of other names than those that stand above would mislead.
  const report = check.variables?.join() === form.values.names.join() ? check.data : undefined;
  const failed = [save.error, check.error].filter((e) => e !== null).map(asProblem);
  return (
    <form noValidate onSubmit={form.onSubmit((v) => save.mutate(v))}>
      <Stack gap="md" maw={680}>
        <Text size="sm" c="dimmed">
          {texts.text}
        </Text>
        {failed
          .filter((p) => !Object.keys(p.fields).some((f) => fields.includes(f.split('.')[0]!)))
          .map((p) => (
            <ProblemNotice key={p.title} problem={p} />
          ))}
        <Switch label={texts.enabled} {...form.getInputProps('enabled', { type: 'checkbox' })} />
        <TagsInput label={texts.names} description={texts.namesHint} placeholder="pbx.example.com" splitChars={[',', ' ']} acceptValueOnBlur maxTags={32} {...form.getInputProps('names')} />
        <TextInput label={texts.email} description={texts.emailHint} type="email" {...form.getInputProps('email')} />
        <Radio.Group label={texts.authority} {...form.getInputProps('authority')} error={form.values.authority === 'other' ? undefined : form.errors.directory}>
          <Stack gap={10} mt={8}>
            {authorities.map((a) => (
              <Radio key={a} value={a} label={texts.authorities[a]} description={texts.authorityHints[a]} />
            ))}
          </Stack>
        </Radio.Group>
        {form.values.authority === 'other' && (
          <>
            <TextInput label={texts.directory} description={texts.directoryHint} placeholder="https://ca.example/acme/directory" {...form.getInputProps('directory')} />
            <Textarea
              label={texts.roots}
              description={texts.rootsHint}
              placeholder="-----BEGIN CERTIFICATE-----"
              autosize
              minRows={3}
              maxRows={8}
              spellCheck={false}
              styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 12.5 } }}
              {...form.getInputProps('roots')}
            />
          </>
        )}
        <Checkbox label={texts.terms} {...form.getInputProps('terms_agreed', { type: 'checkbox' })} />
        <Group gap="sm">
          <Button type="submit" loading={save.isPending} disabled={!form.isDirty()}>
            {common.save}
          </Button>
          <Button variant="default" loading={check.isPending} onClick={checkNames}>
            {texts.check}
          </Button>
        </Group>
        {report && <Names title={texts.report} reports={report.items} />}
        <Asking state={state} dirty={form.isDirty()} fresh={report !== undefined} />
      </Stack>
    </form>
  );
}
