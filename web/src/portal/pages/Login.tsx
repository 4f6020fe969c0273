import { Button, PasswordInput, Stack, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useEffect, useState, type ReactNode } from 'react';
import { client, take, type Session } from '../../shared/api';
import { span } from '../../shared/format';
import { asProblem } from '../../shared/problems';
import { keepSession, sessionQuery } from '../../shared/queries';
import { Brand } from '../../shared/ui/Brand';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { login as texts } from '../../texts/login';
import css from './Login.module.css';

export function Login() {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const { next, reason } = useSearch({ from: '/login' });
  const [owing, setOwing] = useState(() => queries.getQueryData(sessionQuery.queryKey)?.second_factor_owed ?? false);
  const enter = () => void navigate({ href: next ?? '/', replace: true });
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
      if (session.second_factor_owed) setOwing(true);
      else enter();
    },
    onError: () => form.setFieldValue('password', ''),
  });
  useEffect(() => {
    document.title = `${texts.title} · Ringfence`;
  }, []);

  if (owing) {
    return (
      <Frame>
        <SecondStep
          onDone={(session) => {
            keepSession(queries, session);
            enter();
          }}
          onBack={() => {
            void take(client.DELETE('/api/v1/session')).catch(() => undefined);
            queries.clear();
            login.reset();
            form.reset();
            setOwing(false);
          }}
        />
      </Frame>
    );
  }
  return (
    <Frame>
        <form noValidate className={css.card} onSubmit={form.onSubmit((values) => login.mutate(values))}>
          <h1>{texts.title}</h1>
          <Stack gap="md">
            {login.isError ? <Refused thrown={login.error} /> : reason === 'expired' && <Notice tone="info" title={texts.signedOut} />}
            <TextInput label={texts.name} name="username" autoComplete="username" autoCapitalize="none" spellCheck={false} autoFocus key={form.key('name')} {...form.getInputProps('name')} />
            <PasswordInput label={texts.password} name="password" autoComplete="current-password" key={form.key('password')} {...form.getInputProps('password')} />
            <Button type="submit" loading={login.isPending} fullWidth mt={4}>
              {texts.submit}
            </Button>
            <Providers />
          </Stack>
        </form>
    </Frame>
  );
}

/** The sign-in providers that want a button. */
function Providers() {
  const [list, setList] = useState<readonly { domain: string; label: string }[]>([]);
  // Not in the cache: signing out empties that while this page begins.
  useEffect(() => {
    take(client.GET('/api/v1/sso'))
      .then(({ items }) => setList(items))
      .catch(() => undefined);
  }, []);
  const start = useMutation({
    mutationFn: (domain: string) => take(client.POST('/api/v1/sso/start', { body: { domain } })),
    onSuccess: ({ url }) => window.location.assign(url),
  });
  return (
    <>
      {start.isError && <Refused thrown={start.error} />}
      {list.map(({ domain, label }) => (
        <Button key={domain} variant="default" fullWidth loading={start.isPending && start.variables === domain} onClick={() => start.mutate(domain)}>
          {label}
        </Button>
      ))}
    </>
  );
}

function Frame({ children }: { children: ReactNode }) {
  return (
    <main className={css.page}>
      <div className={css.box}>
        <Brand size={32} />
        {children}
      </div>
    </main>
  );
}

/** The password was right; the second factor is owed. */
function SecondStep({ onDone, onBack }: { onDone: (session: Session) => void; onBack: () => void }) {
  const form = useForm({ initialValues: { code: '' }, validate: { code: (v) => (v.trim() === '' ? texts.codeMissing : null) } });
  const show = useMutation({
    mutationFn: (code: string) => take(client.POST('/api/v1/session/second-factor', { body: { code: code.trim() } })),
    onSuccess: onDone,
    onError: () => form.reset(),
  });
  const problem = show.error && asProblem(show.error);
  const wrong = problem?.fields.code !== undefined;
  return (
    <form noValidate className={css.card} onSubmit={form.onSubmit((v) => show.mutate(v.code))}>
      <h1>{texts.secondTitle}</h1>
      <Stack gap="md">
        {wrong && (
          <Notice tone="bad" title={texts.codeWrong}>
            {texts.codeWrongHint}
          </Notice>
        )}
        {problem?.status === 401 && <Notice tone="bad" title={texts.tooLate} />}
        {problem && !wrong && problem.status !== 401 && <Refused thrown={show.error} />}
        <TextInput label={texts.code} description={texts.codeHint} name="code" autoComplete="one-time-code" autoCapitalize="none" spellCheck={false} autoFocus {...form.getInputProps('code')} />
        <Button type="submit" loading={show.isPending} fullWidth mt={4}>
          {texts.submit}
        </Button>
        <Button variant="subtle" onClick={onBack} fullWidth>
          {texts.otherAccount}
        </Button>
      </Stack>
    </form>
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
