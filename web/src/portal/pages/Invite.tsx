import { Button, PasswordInput, Stack, Text } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useState } from 'react';
import { client, take, type Invited } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { acceptable } from '../../shared/password';
import { asProblem } from '../../shared/problems';
import { keepSession } from '../../shared/queries';
import { Brand } from '../../shared/ui/Brand';
import { ButtonLink } from '../../shared/ui/ButtonLink';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { PasswordRules } from '../../shared/ui/PasswordRules';
import { invite as texts } from '../../texts/signin';
import css from './Login.module.css';

/** Where a one-time link leads: the first password is set here. */
export function Invite() {
  // The secret leaves the address at once, so that no history keeps it.
  const [token] = useState(() => window.location.hash.slice(1));
  useEffect(() => {
    document.title = `${texts.title} · Ringfence`;
    window.history.replaceState(window.history.state, '', window.location.pathname);
  }, []);
  const query = useQuery({
    queryKey: ['invite', token],
    queryFn: () => take(client.POST('/api/v1/invite/read', { body: { token } })),
    enabled: token !== '',
    retry: false,
    gcTime: 0,
    staleTime: Infinity,
  });
  const problem = query.error && asProblem(query.error);
  return (
    <main className={css.page}>
      <div className={css.box}>
        <Brand size={32} />
        <div className={css.card}>
          <h1>{texts.title}</h1>
          {(token === '' || problem?.status === 404 || problem?.status === 422) && (
            <Stack gap="md">
              <Notice tone="bad" title={texts.gone}>
                {texts.goneText}
              </Notice>
              <ButtonLink to="/login">{texts.toLogin}</ButtonLink>
            </Stack>
          )}
          {problem && problem.status !== 404 && problem.status !== 422 && <ProblemNotice problem={problem} />}
          {query.data && <Form token={token} invited={query.data} />}
        </div>
      </div>
    </main>
  );
}

function Form({ token, invited }: { token: string; invited: Invited }) {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const words = [invited.name];
  const form = useForm({
    initialValues: { password: '', repeat: '' },
    validate: {
      password: (v) => (acceptable(v, words, invited.passwords) ? null : ' '),
      repeat: (v, all) => (v === all.password ? null : texts.differs),
    },
  });
  const accept = useMutation({
    mutationFn: (password: string) => take(client.POST('/api/v1/invite', { body: { token, password } })),
    onSuccess: (session) => {
      queries.clear();
      keepSession(queries, session);
      void navigate({ to: '/', replace: true });
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), ['password']),
  });
  const problem = accept.error && asProblem(accept.error);
  return (
    <form noValidate onSubmit={form.onSubmit((v) => accept.mutate(v.password))}>
      <Stack gap="md">
        <Text>{texts.hello(invited.name)}</Text>
        {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
        <input type="text" name="username" autoComplete="username" value={invited.name} readOnly hidden />
        <PasswordInput label={texts.password} autoComplete="new-password" aria-describedby="invite-rules" {...form.getInputProps('password')} />
        <PasswordRules id="invite-rules" password={form.values.password} account={words} policy={invited.passwords} />
        <PasswordInput label={texts.repeat} autoComplete="new-password" {...form.getInputProps('repeat')} />
        <Button type="submit" loading={accept.isPending} fullWidth>
          {texts.submit}
        </Button>
      </Stack>
    </form>
  );
}
