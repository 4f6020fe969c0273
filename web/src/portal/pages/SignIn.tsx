import { Button, NumberInput, Select, Stack, Switch } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { client, take, type SignIn as Rules } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { boxSignInQuery, passwordPolicyQuery, sessionQuery, signInQuery } from '../../shared/queries';
import { ProblemNotice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { common } from '../../texts/common';
import { signInRules as texts } from '../../texts/signin';
import { SignInProvider } from './SignInProvider';
import css from './pages.module.css';

/** How people sign in: passwords and second factor. */
export function SignIn() {
  const box = useSuspenseQuery(sessionQuery).data.role === 'system_admin';
  const tenant = useQuery(signInQuery);
  const own = useQuery({ ...boxSignInQuery, enabled: box });
  const queries = useQueryClient();
  const problem = tenant.error ?? own.error;
  return (
    <Page title={texts.title} lead={texts.lead}>
      <div className={`${css.stack} ${css.narrow}`}>
        {problem && <ProblemNotice problem={asProblem(problem)} />}
        {tenant.data && (
          <RulesForm
            title={texts.organisation}
            rules={tenant.data}
            save={(body) => take(client.PUT('/api/v1/sign-in', { body }))}
            onSaved={(saved) => queries.setQueryData(signInQuery.queryKey, saved)}
          />
        )}
        <SignInProvider />
        {own.data && (
          <RulesForm
            title={texts.box}
            rules={own.data}
            save={(body) => take(client.PUT('/api/v1/box/sign-in', { body }))}
            onSaved={(saved) => queries.setQueryData(boxSignInQuery.queryKey, saved)}
          />
        )}
      </div>
    </Page>
  );
}

const factors = (['optional', 'administrators', 'everybody'] as const).map((value) => ({ value, label: texts.factors[value] }));
const modes = (['rules', 'nist'] as const).map((value) => ({ value, label: texts.modes[value] }));
const switches = [
  ['letter', texts.letter],
  ['digit', texts.digit],
  ['upper_or_special', texts.upper],
  ['no_sequence', texts.sequence],
  ['no_repeat', texts.repeat],
] as const;
const fields = ['mode', 'min', 'max', 'second_factor'];

function RulesForm({ title, rules, save, onSaved }: { title: string; rules: Rules; save: (body: Rules) => Promise<Rules>; onSaved: (saved: Rules) => void }) {
  const queries = useQueryClient();
  const form = useForm({
    initialValues: { ...rules.passwords, min: rules.passwords.min as number | string, max: rules.passwords.max as number | string, second_factor: rules.second_factor },
  });
  const store = useMutation({
    mutationFn: ({ second_factor, ...p }: typeof form.values) => save({ passwords: { ...p, min: Number(p.min), max: Number(p.max) }, second_factor }),
    onSuccess: async (saved) => {
      onSaved(saved);
      const values = { ...saved.passwords, second_factor: saved.second_factor };
      form.setValues(values);
      form.resetDirty(values);
      notifications.show({ message: texts.saved });
      await queries.invalidateQueries({ queryKey: passwordPolicyQuery.queryKey });
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), fields, Object.fromEntries(fields.map((f) => [`passwords.${f}`, f]))),
  });
  const problem = store.error && asProblem(store.error);
  const nist = form.values.mode === 'nist';
  /** A mode brings the lengths it stands for. */
  const choose = (mode: string | null) => {
    if (mode !== 'rules' && mode !== 'nist') return;
    form.setValues(mode === 'nist' ? { mode, min: 15, max: 128, letter: false, digit: false, upper_or_special: false, no_sequence: false, no_repeat: false } : { mode, min: 8, max: 32, letter: true, digit: true, upper_or_special: true, no_sequence: true, no_repeat: true });
  };
  return (
    <Panel title={title}>
      <form noValidate onSubmit={form.onSubmit((v) => store.mutate(v))}>
        <Stack gap="md">
          {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
          <Select label={texts.factor} description={texts.factorHint} data={factors} allowDeselect={false} {...form.getInputProps('second_factor')} />
          <Select label={texts.mode} description={texts.modeHint} data={modes} allowDeselect={false} value={form.values.mode} onChange={choose} error={form.errors.mode} />
          <NumberInput label={texts.min} min={nist ? 15 : 6} max={128} clampBehavior="none" allowDecimal={false} {...form.getInputProps('min')} />
          <NumberInput label={texts.max} min={nist ? 64 : 6} max={128} clampBehavior="none" allowDecimal={false} {...form.getInputProps('max')} />
          {!nist && switches.map(([name, label]) => <Switch key={name} label={label} {...form.getInputProps(name, { type: 'checkbox' })} />)}
          <Switch label={texts.account} {...form.getInputProps('no_account', { type: 'checkbox' })} />
          <div>
            <Button type="submit" loading={store.isPending} disabled={!form.isDirty()}>
              {common.save}
            </Button>
          </div>
        </Stack>
      </form>
    </Panel>
  );
}
