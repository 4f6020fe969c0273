import { Button, Group, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { setup as texts } from '../texts/setup';
import { ButtonLink } from '../shared/ui/ButtonLink';
import { forgetToken } from './token';
import css from './Wizard.module.css';

/** Nobody reaches the wizard by its address alone. */
export function NoToken({ onToken }: { onToken: (token: string) => void }) {
  const form = useForm({ initialValues: { token: '' } });
  const use = (text: string) => {
    // The whole address may be pasted as well.
    const token = /token=([^&\s]+)/.exec(text)?.[1] ?? text.trim();
    if (token !== '') onToken(token);
  };
  return (
    <form onSubmit={form.onSubmit((v) => use(v.token))}>
      <h1>{texts.noTokenTitle}</h1>
      <p className={css.lead}>{texts.noTokenText}</p>
      <TextInput label={texts.token} description={texts.tokenHint} autoComplete="off" spellCheck={false} {...form.getInputProps('token')} />
      <Group mt="lg">
        <Button type="submit">{texts.tokenUse}</Button>
        <ButtonLink to="/login" variant="default">
          {texts.signIn}
        </ButtonLink>
      </Group>
    </form>
  );
}

export function BadToken() {
  return (
    <>
      <h1>{texts.badTokenTitle}</h1>
      <p className={css.lead}>{texts.badTokenText}</p>
      <ButtonLink to="/login" variant="default" onClick={forgetToken}>
        {texts.signIn}
      </ButtonLink>
    </>
  );
}
