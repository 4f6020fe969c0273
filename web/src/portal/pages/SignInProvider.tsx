import { Button, Group, PasswordInput, Stack, Switch, Textarea, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { client, take, type SSO } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { ssoQuery } from '../../shared/queries';
import { Copyable } from '../../shared/ui/Copy';
import { ProblemNotice } from '../../shared/ui/Notice';
import { Panel } from '../../shared/ui/Page';
import { common } from '../../texts/common';
import { sso as texts } from '../../texts/signin';

/** The OpenID Connect provider of the organisation. */
export function SignInProvider() {
  const query = useQuery(ssoQuery);
  if (query.error) return <ProblemNotice problem={asProblem(query.error)} />;
  return query.data ? <Form key={query.data.issuer} provider={query.data} /> : null;
}

const fields = ['label', 'issuer', 'client_id', 'client_secret', 'domains'];

function Form({ provider }: { provider: SSO }) {
  const queries = useQueryClient();
  const form = useForm({
    initialValues: {
      enabled: provider.enabled,
      label: provider.label,
      issuer: provider.issuer,
      client_id: provider.client_id,
      client_secret: '',
      domains: provider.domains.join('\n'),
      create_users: provider.create_users,
    },
  });
  const save = useMutation({
    mutationFn: ({ domains, client_secret, ...v }: typeof form.values) =>
      take(client.PUT('/api/v1/sign-in/sso', { body: { ...v, client_secret: client_secret || undefined, domains: domains.toLowerCase().split(/[\s,]+/).filter(Boolean) } })),
    onSuccess: (saved, values) => {
      queries.setQueryData(ssoQuery.queryKey, saved);
      form.setFieldValue('client_secret', '');
      form.resetDirty({ ...values, client_secret: '' });
      notifications.show({ message: texts.saved });
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), fields),
  });
  const problem = save.error && asProblem(save.error);
  return (
    <Panel title={texts.panel}>
      <form noValidate onSubmit={form.onSubmit((v) => save.mutate(v))}>
        <Stack gap="md">
          {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
          <Switch label={texts.enabled} description={texts.enabledHint} {...form.getInputProps('enabled', { type: 'checkbox' })} />
          <TextInput label={texts.issuer} description={texts.issuerHint} placeholder="https://id.example.org" {...form.getInputProps('issuer')} />
          <TextInput label={texts.clientID} autoComplete="off" {...form.getInputProps('client_id')} />
          <PasswordInput label={texts.secret} description={texts.secretHint} autoComplete="new-password" {...form.getInputProps('client_secret')} />
          <div>
            <div>{texts.redirect}</div>
            <Copyable text={provider.redirect_uri} what={texts.redirect} />
          </div>
          <Textarea label={texts.domains} description={texts.domainsHint} autosize minRows={1} {...form.getInputProps('domains')} />
          <Switch label={texts.create} description={texts.createHint} {...form.getInputProps('create_users', { type: 'checkbox' })} />
          <TextInput label={texts.label} description={texts.labelHint} {...form.getInputProps('label')} />
          <Group>
            <Button type="submit" loading={save.isPending} disabled={!form.isDirty()}>
              {common.save}
            </Button>
          </Group>
        </Stack>
      </form>
    </Panel>
  );
}
