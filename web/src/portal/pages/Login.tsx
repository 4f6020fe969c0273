import { Button, PasswordInput, Stack, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useEffect } from 'react';
import { client, take } from '../../shared/api';
import { span } from '../../shared/format';
import { asProblem } from '../../shared/problems';
import { keepSession } from '../../shared/queries';
import { Brand } from '../../shared/ui/Brand';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { login as texts } from '../../texts/login';
import css from './Login.module.css';

export function Login() {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const { next, reason } = useSearch({ from: '/login' });
  const form = useForm({
    mode: 'uncontrolled',
    initialValues: { name: '', password: '' },
    validate: { name: (v) => (v.trim() === '' ? texts.nameMissing : null), password: (v) => (v === '' ? texts.passwordMissing : null) },
  });
  const login = useMutation({
    mutationFn: (body: { name: string; password: string }) =>
      take(client.POST('/api/v1/login', { body: { ...body, name: body.name.trim().toLowerCase() } })),
    onSuccess: (session) => {
      queries.clear();
      keepSession(queries, session);
      void navigate({ href: next ?? '/', replace: true });
    },
    onError: () => form.setFieldValue('password', ''),
  });
  useEffect(() => {
    document.title = `${texts.title} · Ringfence`;
  }, []);

  return (
    <main className={css.page}>
      <div className={css.box}>
        <Brand size={32} />
        <form noValidate className={css.card} onSubmit={form.onSubmit((values) => login.mutate(values))}>
          <h1>{texts.title}</h1>
          <Stack gap="md">
            {login.isError ? <Refused thrown={login.error} /> : reason === 'expired' && <Notice tone="info" title={texts.signedOut} />}
            <TextInput label={texts.name} name="username" autoComplete="username" autoCapitalize="none" spellCheck={false} autoFocus key={form.key('name')} {...form.getInputProps('name')} />
            <PasswordInput label={texts.password} name="password" autoComplete="current-password" key={form.key('password')} {...form.getInputProps('password')} />
            <Button type="submit" loading={login.isPending} fullWidth mt={4}>
              {texts.submit}
            </Button>
          </Stack>
        </form>
      </div>
    </main>
  );
}

function Refused({ thrown }: { thrown: unknown }) {
  const problem = asProblem(thrown);
  if (problem.status === 401 || problem.status === 422) {
    return (
      <Notice tone="bad" title={texts.wrong}>
        {texts.wrongHint}
      </Notice>
    );
  }
  if (problem.status === 429) {
    return (
      <Notice tone="bad" title={texts.blocked}>
        {texts.blockedHint(problem.retryAfter > 0 ? span(problem.retryAfter) : '')}
      </Notice>
    );
  }
  return <ProblemNotice problem={problem} />;
}
