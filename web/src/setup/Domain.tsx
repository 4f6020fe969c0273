import { Stack, Text, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useMutation } from '@tanstack/react-query';
import { client, take } from '../shared/api';
import { placeProblem } from '../shared/form';
import { rangeSize } from '../shared/numbers';
import { asProblem } from '../shared/problems';
import { ProblemNotice } from '../shared/ui/Notice';
import { setup as texts } from '../texts/setup';
import { Buttons } from './Buttons';
import type { StepProps } from './Wizard';
import css from './Wizard.module.css';

export function Domain({ setup, onNext, onBack }: StepProps) {
  const { suggestion } = setup;
  const form = useForm({
    initialValues: {
      name: suggestion.tenant_name,
      // Opened by an address, that address is what phones can reach for certain.
      domain: suggestion.domain || location.hostname,
      extension_first: suggestion.extension_first || '101',
      extension_last: suggestion.extension_last || '199',
    },
    validate: {
      name: (v) => (v.trim() === '' ? texts.required : null),
      domain: (v) => (v.trim() === '' ? texts.required : null),
      extension_first: (v) => (/^[0-9]{2,9}$/.test(v) ? null : texts.digits),
      extension_last: (v, all) => {
        if (!/^[0-9]+$/.test(v)) return texts.digits;
        if (v.length !== all.extension_first.length) return texts.sameLength;
        return v < all.extension_first ? texts.notLower : null;
      },
    },
  });
  const save = useMutation({
    mutationFn: (v: typeof form.values) =>
      take(client.PUT('/api/v1/setup/tenant', { body: { ...v, name: v.name.trim(), domain: v.domain.trim().toLowerCase() } })),
    onSuccess: (fresh) => onNext(fresh),
    onError: (thrown) => placeProblem(form, asProblem(thrown), ['name', 'domain', 'extension_first', 'extension_last']),
  });
  const problem = save.error && asProblem(save.error);
  const size = rangeSize(form.values.extension_first, form.values.extension_last);
  return (
    <form onSubmit={form.onSubmit((v) => save.mutate(v))}>
      <h1>{texts.tenantTitle}</h1>
      <p className={css.lead}>{texts.tenantText}</p>
      <Stack gap="md">
        {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
        <TextInput label={texts.organisation} description={texts.organisationHint} autoComplete="organization" maxLength={100} {...form.getInputProps('name')} />
        <TextInput label={texts.domain} description={texts.domainHint} autoCapitalize="none" spellCheck={false} {...form.getInputProps('domain')} />
        <div className={css.fields}>
          <TextInput label={texts.first} inputMode="numeric" maxLength={9} {...form.getInputProps('extension_first')} />
          <TextInput label={texts.last} inputMode="numeric" maxLength={9} {...form.getInputProps('extension_last')} />
        </div>
        <Text size="sm" c="dimmed" role="status">
          {size > 0 ? texts.rangeSize(size) : ' '}
        </Text>
      </Stack>
      <Buttons onBack={onBack} pending={save.isPending} />
    </form>
  );
}
