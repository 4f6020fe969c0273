import { Button, PasswordInput, Stack } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { useNavigate, useRouter } from '@tanstack/react-router';
import { client, take, type Session } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { dateTime } from '../../shared/format';
import { acceptable, defaultPolicy } from '../../shared/password';
import { asProblem } from '../../shared/problems';
import { keepSession, passwordPolicyQuery, sessionQuery } from '../../shared/queries';
import { Facts } from '../../shared/ui/Facts';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { roleName } from '../roles';
import { PasswordRules } from '../../shared/ui/PasswordRules';

import { account as texts } from '../../texts/system';
import { secondFactor as factorTexts } from '../../texts/signin';
import { SecondFactor } from '../account/SecondFactor';
import { Sessions } from '../account/Sessions';
import { Tokens } from '../account/Tokens';
import css from './pages.module.css';

export function Account() {
  const session = useSuspenseQuery(sessionQuery).data;
  const { user, tenant } = session;
  return (
    <Page title={texts.title}>
      <div className={`${css.stack} ${css.narrow}`}>
        {session.must_change_password && (
          <Notice tone="warn" title={texts.must}>
            {texts.mustText}
          </Notice>
        )}
        {!session.must_change_password && session.must_set_up_second_factor && (
          <Notice tone="warn" title={factorTexts.must}>
            {factorTexts.mustText}
          </Notice>
        )}
        <Panel title={texts.who}>
          <Facts
            items={[
              [texts.name, user.name],
              [texts.fullName, `${user.first_name} ${user.last_name}`.trim() || undefined],
              [texts.email, user.email || undefined],
              [texts.role, roleName(session.role)],
              [texts.tenant, tenant.name || undefined],
              [texts.extension, user.extension || undefined],
              [texts.session, `${dateTime(new Date(session.expires_at))}, ${texts.sessionHint}`],
            ]}
          />
        </Panel>
        <PasswordPanel session={session} />
        {!session.must_change_password && <SecondFactor session={session} />}
        {!session.must_change_password && !session.must_set_up_second_factor && <Sessions />}
        {!session.must_change_password && !session.must_set_up_second_factor && <Tokens />}
      </div>
    </Page>
  );
}

/** Words the password must not hold. */
function accountWords({ user, tenant }: Session): string[] {
  return [user.name, user.first_name, user.last_name, user.email, user.extension, tenant.domain];
}

function PasswordPanel({ session }: { session: Session }) {
  const queries = useQueryClient();
  const navigate = useNavigate();
  const router = useRouter();
  const words = accountWords(session);
  const policy = useQuery(passwordPolicyQuery).data ?? defaultPolicy;
  const form = useForm({
    initialValues: { current: '', next: '', repeat: '' },
    validate: {
      current: (v) => (v === '' ? texts.currentMissing : null),
      next: (v) => (acceptable(v, words, policy) ? null : ' '),
      repeat: (v, all) => (v === all.next ? null : texts.differs),
    },
  });
  const change = useMutation({
    mutationFn: (v: typeof form.values) => take(client.PUT('/api/v1/session/password', { body: { current: v.current, new: v.next } })),
    onSuccess: async (fresh) => {
      const forced = session.must_change_password;
      keepSession(queries, fresh);
      form.reset();
      notifications.show({ title: texts.done, message: texts.doneText });
      if (forced) {
        await router.invalidate();
        void navigate({ to: '/' });
      }
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), ['current', 'next'], { new: 'next' }),
  });
  const problem = change.error && asProblem(change.error);
  const placed = problem !== null && Object.keys(problem.fields).length > 0;
  return (
    <Panel title={texts.password}>
      <form noValidate onSubmit={form.onSubmit((v) => change.mutate(v))}>
        <Stack gap="md">
          {problem && !placed && <ProblemNotice problem={problem} />}
          {/* Lets password keepers know whose password this is. */}
          <input type="text" name="username" autoComplete="username" value={session.user.name} readOnly hidden />
          <PasswordInput label={texts.current} autoComplete="current-password" {...form.getInputProps('current')} />
          <PasswordInput label={texts.next} autoComplete="new-password" aria-describedby="new-password-rules" {...form.getInputProps('next')} />
          <PasswordRules id="new-password-rules" password={form.values.next} account={words} policy={policy} />
          <PasswordInput label={texts.repeat} autoComplete="new-password" {...form.getInputProps('repeat')} />
          <div>
            <Button type="submit" loading={change.isPending}>
              {texts.submit}
            </Button>
          </div>
        </Stack>
      </form>
    </Panel>
  );
}
