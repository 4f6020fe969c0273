import { Button, Group, Modal, PasswordInput, Stack, Text, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useRouter } from '@tanstack/react-router';
import { useState } from 'react';
import { client, take, type Session, type TOTPEnrolment } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { secondFactorQuery, sessionQuery, sessionsQuery } from '../../shared/queries';
import { CopyButton } from '../../shared/ui/Copy';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { Panel } from '../../shared/ui/Page';
import { State } from '../../shared/ui/State';
import { common } from '../../texts/common';
import { secondFactor as texts } from '../../texts/signin';
import css from './account.module.css';

type Deed = 'set-up' | 'disable' | 'renew';

/** The authenticator app of the own account. */
export function SecondFactor({ session }: { session: Session }) {
  const queries = useQueryClient();
  const router = useRouter();
  const query = useQuery(secondFactorQuery);
  const [deed, setDeed] = useState<Deed | null>(null);
  const close = async () => {
    setDeed(null);
    await Promise.all([secondFactorQuery, sessionQuery, sessionsQuery].map((q) => queries.invalidateQueries({ queryKey: q.queryKey })));
    if (session.must_set_up_second_factor) await router.invalidate();
  };
  const state = query.data;
  return (
    <Panel title={texts.title}>
      {query.error && <ProblemNotice problem={asProblem(query.error)} />}
      {state && (
        <Stack gap="md">
          <div>
            <State tone={state.on ? 'ok' : state.required ? 'bad' : 'idle'}>{state.on ? texts.on : texts.off}</State>
            {state.required && <Text size="sm">{texts.required}</Text>}
          </div>
          {state.on && (
            <Text size="sm" c={state.recovery_codes < 3 ? 'red.8' : 'dimmed'}>
              {texts.left(state.recovery_codes)}. {texts.leftHint}
            </Text>
          )}
          <Group gap="sm">
            {!state.on && <Button onClick={() => setDeed('set-up')}>{texts.setUp}</Button>}
            {state.on && (
              <Button variant="default" onClick={() => setDeed('renew')}>
                {texts.renew}
              </Button>
            )}
            {state.on && (
              <Button variant="default" onClick={() => setDeed('disable')}>
                {texts.disable}
              </Button>
            )}
          </Group>
        </Stack>
      )}
      <Modal
        opened={deed !== null}
        onClose={() => void close()}
        closeOnClickOutside={false}
        title={<Text fw={620}>{deed === 'disable' ? texts.disableTitle : deed === 'renew' ? texts.renewTitle : texts.setUp}</Text>}
        closeButtonProps={{ 'aria-label': common.close }}
      >
        {deed === 'set-up' && <SetUp onDone={() => void close()} />}
        {deed === 'renew' && <Renew onDone={() => void close()} />}
        {deed === 'disable' && <Disable onDone={() => void close()} />}
      </Modal>
    </Panel>
  );
}

/** Asks for the password before anything about the second factor is changed. */
function AskPassword<T>({ effect, deed, run, onDone }: { effect?: string; deed: string; run: (password: string) => Promise<T>; onDone: (result: T) => void }) {
  const form = useForm({ initialValues: { password: '' }, validate: { password: (v) => (v === '' ? texts.passwordMissing : null) } });
  const ask = useMutation({
    mutationFn: run,
    onSuccess: onDone,
    onError: (thrown) => {
      if (asProblem(thrown).fields.password !== undefined) form.setErrors({ password: texts.passwordWrong });
    },
  });
  const problem = ask.error && asProblem(ask.error);
  return (
    <form noValidate onSubmit={form.onSubmit((v) => ask.mutate(v.password))}>
      <Stack gap="md">
        {effect !== undefined && <Text>{effect}</Text>}
        {problem && problem.fields.password === undefined && <ProblemNotice problem={problem} />}
        <PasswordInput label={texts.password} autoComplete="current-password" data-autofocus {...form.getInputProps('password')} />
        <Group justify="flex-end">
          <Button type="submit" loading={ask.isPending}>
            {deed}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function SetUp({ onDone }: { onDone: () => void }) {
  const [enrolment, setEnrolment] = useState<TOTPEnrolment | null>(null);
  const [codes, setCodes] = useState<readonly string[] | null>(null);
  if (codes !== null) return <Codes codes={codes} onDone={onDone} />;
  if (enrolment !== null) return <Confirm enrolment={enrolment} onDone={setCodes} />;
  return <AskPassword deed={common.next} run={(password) => take(client.POST('/api/v1/session/second-factor/totp', { body: { password } }))} onDone={setEnrolment} />;
}

function Confirm({ enrolment, onDone }: { enrolment: TOTPEnrolment; onDone: (codes: readonly string[]) => void }) {
  const form = useForm({ initialValues: { code: '' }, validate: { code: (v) => (v.trim() === '' ? texts.codeMissing : null) } });
  const confirm = useMutation({
    mutationFn: (code: string) => take(client.PUT('/api/v1/session/second-factor/totp', { body: { code: code.trim() } })),
    onSuccess: (answer) => {
      notifications.show({ message: texts.turnedOn });
      onDone(answer.recovery_codes);
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), ['code']),
  });
  const problem = confirm.error && asProblem(confirm.error);
  return (
    <form noValidate onSubmit={form.onSubmit((v) => confirm.mutate(v.code))}>
      <Stack gap="md">
        <Text>{texts.scan}</Text>
        <img className={css.qr} src={enrolment.qr} alt={texts.qr} width={220} height={220} />
        <div>
          <Text size="sm">{texts.scanHint}</Text>
          <Group gap="sm" wrap="nowrap">
            <code className={css.key}>{enrolment.secret.replace(/(.{4})(?=.)/g, '$1 ')}</code>
            <CopyButton text={enrolment.secret} what={texts.key} label={common.copyShort} />
          </Group>
        </div>
        {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
        <TextInput label={texts.code} inputMode="numeric" autoComplete="one-time-code" maxLength={10} data-autofocus {...form.getInputProps('code')} />
        <Group justify="flex-end">
          <Button type="submit" loading={confirm.isPending}>
            {texts.confirm}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function Codes({ codes, onDone }: { codes: readonly string[]; onDone: () => void }) {
  return (
    <Stack gap="md">
      <Notice tone="warn" title={texts.codesTitle}>
        {texts.codesText}
      </Notice>
      <ul className={css.codes} aria-label={texts.codesTitle}>
        {codes.map((code) => (
          <li key={code}>
            <code>{code}</code>
          </li>
        ))}
      </ul>
      <Group justify="space-between">
        <CopyButton text={codes.join('\n')} what={texts.codesTitle} label={common.copyShort} />
        <Button onClick={onDone}>{texts.kept}</Button>
      </Group>
    </Stack>
  );
}

function Renew({ onDone }: { onDone: () => void }) {
  const [codes, setCodes] = useState<readonly string[] | null>(null);
  if (codes !== null) return <Codes codes={codes} onDone={onDone} />;
  return (
    <AskPassword
      effect={texts.renewEffect}
      deed={texts.renew}
      run={(password) => take(client.POST('/api/v1/session/second-factor/recovery-codes', { body: { password } }))}
      onDone={(answer) => setCodes(answer.recovery_codes)}
    />
  );
}

function Disable({ onDone }: { onDone: () => void }) {
  return (
    <AskPassword
      effect={texts.disableEffect}
      deed={texts.disable}
      run={(password) => take(client.POST('/api/v1/session/second-factor/disable', { body: { password } }))}
      onDone={() => {
        notifications.show({ message: texts.turnedOff });
        onDone();
      }}
    />
  );
}
