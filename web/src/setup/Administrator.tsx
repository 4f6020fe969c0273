import { Button, PasswordInput, Stack, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useMutation } from '@tanstack/react-query';
import { IconWand } from '@tabler/icons-react';
import { useState } from 'react';
import { client, take } from '../shared/api';
import { placeProblem } from '../shared/form';
import { suggestPassword } from '../shared/generate';
import { acceptable } from '../shared/password';
import { asProblem } from '../shared/problems';
import { CopyButton } from '../shared/ui/Copy';
import { Notice, ProblemNotice } from '../shared/ui/Notice';
import { PasswordRules } from '../shared/ui/PasswordRules';
import { common } from '../texts/common';
import { setup as texts } from '../texts/setup';
import { Buttons } from './Buttons';
import { isDone } from './steps';
import type { StepProps } from './Wizard';
import css from './Wizard.module.css';

export function Administrator({ setup, onNext, onBack }: StepProps) {
  const { suggestion } = setup;
  const saved = isDone(setup, 'administrator');
  const [visible, setVisible] = useState(false);
  const form = useForm({
    initialValues: {
      name: suggestion.administrator || 'admin',
      first_name: suggestion.first_name,
      last_name: suggestion.last_name,
      email: suggestion.email,
      password: '',
      repeat: '',
    },
    validate: {
      name: (v) => (/^[a-z0-9._@+-]+$/.test(v.trim().toLowerCase()) ? null : texts.nameHint),
      password: (v, all) => (acceptable(v, words(all)) ? null : ' '),
      repeat: (v, all) => (v === all.password ? null : texts.differs),
    },
  });
  const save = useMutation({
    mutationFn: (v: typeof form.values) =>
      take(
        client.PUT('/api/v1/setup/administrator', {
          body: {
            name: v.name.trim().toLowerCase(),
            password: v.password,
            first_name: v.first_name.trim() || undefined,
            last_name: v.last_name.trim() || undefined,
            email: v.email.trim() || undefined,
          },
        }),
      ),
    onSuccess: (fresh) => onNext(fresh),
    onError: (thrown) => placeProblem(form, asProblem(thrown), ['name', 'first_name', 'last_name', 'email', 'password']),
  });
  const problem = save.error && asProblem(save.error);
  const suggest = () => {
    const password = suggestPassword(words(form.values));
    form.setValues({ password, repeat: password });
    setVisible(true);
  };
  return (
    <form noValidate onSubmit={form.onSubmit((v) => save.mutate(v))}>
      <h1>{texts.adminTitle}</h1>
      <p className={css.lead}>{texts.adminText}</p>
      <Stack gap="md">
        {saved && (
          <Notice tone="ok" title={texts.adminSaved}>
            <Button variant="default" size="xs" mt={8} onClick={() => onNext(setup)}>
              {texts.keepAdmin}
            </Button>
          </Notice>
        )}
        {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
        <div className={css.fields}>
          <TextInput className={css.whole} label={texts.name} description={texts.nameHint} autoComplete="username" autoCapitalize="none" spellCheck={false} {...form.getInputProps('name')} />
          <TextInput label={texts.firstName} placeholder={texts.optional} autoComplete="given-name" {...form.getInputProps('first_name')} />
          <TextInput label={texts.lastName} placeholder={texts.optional} autoComplete="family-name" {...form.getInputProps('last_name')} />
          <TextInput className={css.whole} label={texts.email} placeholder={texts.optional} type="email" autoComplete="email" {...form.getInputProps('email')} />
          <PasswordInput label={texts.password} autoComplete="new-password" visible={visible} onVisibilityChange={setVisible} aria-describedby="admin-password-rules" {...form.getInputProps('password')} />
          <PasswordInput label={texts.repeat} autoComplete="new-password" visible={visible} onVisibilityChange={setVisible} {...form.getInputProps('repeat')} />
        </div>
        <div style={{ display: 'flex', gap: 8 }}>
          <Button variant="default" size="xs" leftSection={<IconWand size={15} />} onClick={suggest}>
            {texts.suggest}
          </Button>
          {visible && form.values.password !== '' && <CopyButton text={form.values.password} what={texts.password} label={common.copyShort} />}
        </div>
        <PasswordRules id="admin-password-rules" password={form.values.password} account={words(form.values)} />
      </Stack>
      <Buttons onBack={onBack} pending={save.isPending} />
    </form>
  );
}

/** Words the password must not hold. */
function words(v: { name: string; first_name: string; last_name: string; email: string }): string[] {
  return [v.name, v.first_name, v.last_name, v.email];
}
