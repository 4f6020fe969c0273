import { Button, Drawer, Group, NumberInput, Stack, Text, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useMutation, useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { client, take, type Extension, type SIPCredentials } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { freeNumber, inRange } from '../../shared/numbers';
import { asProblem } from '../../shared/problems';
import { extensionsQuery, sessionQuery } from '../../shared/queries';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { common } from '../../texts/common';
import { extensions as texts } from '../../texts/extensions';
import { PhoneSetup } from './PhoneSetup';
import { SIPAccount } from './SIPAccount';

interface Props {
  opened: boolean;
  onClose: () => void;
  taken: readonly Extension[] | undefined;
}

/** The form for a new extension; afterwards its account, shown once. */
export function CreateExtension({ opened, onClose, taken }: Props) {
  const [made, setMade] = useState<SIPCredentials | null>(null);
  const close = () => {
    onClose();
    setMade(null);
  };
  return (
    <Drawer
      opened={opened}
      onClose={close}
      size="lg"
      title={<Text fw={620}>{made ? texts.created(made.number) : texts.add}</Text>}
      closeButtonProps={{ 'aria-label': common.close }}
    >
      {made ? <Made account={made} onClose={close} /> : opened && <Form taken={taken} onMade={setMade} onCancel={close} />}
    </Drawer>
  );
}

function Form({ taken, onMade, onCancel }: { taken: readonly Extension[] | undefined; onMade: (c: SIPCredentials) => void; onCancel: () => void }) {
  const queries = useQueryClient();
  const { tenant } = useSuspenseQuery(sessionQuery).data;
  const { extension_first: first, extension_last: last } = tenant;
  const form = useForm({
    initialValues: { number: '', display_name: '', no_answer_seconds: 30 as number | string },
    validate: {
      number: (v) =>
        !inRange(v, first, last) ? texts.numberOutside(first, last) : taken?.some((e) => e.number === v) ? texts.numberTaken : null,
    },
  });
  // The next free number, once the list of taken ones is here.
  useEffect(() => {
    if (taken && form.values.number === '') form.setFieldValue('number', freeNumber(first, last, new Set(taken.map((e) => e.number))));
    // Only when the list arrives: an emptied field stays empty.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [taken === undefined]);
  const create = useMutation({
    mutationFn: (v: typeof form.values) =>
      take(
        client.POST('/api/v1/extensions', {
          body: { number: v.number, display_name: v.display_name.trim(), no_answer_seconds: Number(v.no_answer_seconds) },
        }),
      ),
    onSuccess: (account) => {
      void queries.invalidateQueries({ queryKey: extensionsQuery.queryKey });
      onMade(account);
    },
    onError: (thrown) => {
      const problem = asProblem(thrown);
      if (problem.status === 409) form.setFieldError('number', texts.numberTaken);
      else placeProblem(form, problem, ['number', 'display_name', 'no_answer_seconds'], { no_answer: 'no_answer_seconds' });
    },
  });
  const problem = create.error && asProblem(create.error);
  const placed = problem !== null && (problem.status === 409 || Object.keys(problem.fields).length > 0);
  return (
    <form noValidate onSubmit={form.onSubmit((v) => create.mutate(v))}>
      <Stack gap="md">
        {problem && !placed && <ProblemNotice problem={problem} />}
        <TextInput
          label={texts.number}
          description={texts.numberHint(first, last)}
          inputMode="numeric"
          data-autofocus
          {...form.getInputProps('number')}
        />
        <TextInput label={texts.name} description={texts.nameHint} maxLength={100} {...form.getInputProps('display_name')} />
        <NumberInput label={texts.rings} description={texts.ringsHint} min={5} max={180} suffix=" s" allowDecimal={false} {...form.getInputProps('no_answer_seconds')} />
        <Group mt="xs">
          <Button type="submit" loading={create.isPending}>
            {texts.create}
          </Button>
          <Button variant="default" onClick={onCancel}>
            {common.cancel}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function Made({ account, onClose }: { account: SIPCredentials; onClose: () => void }) {
  return (
    <Stack gap="lg">
      <Notice tone="ok" title={texts.onceTitle}>
        {texts.onceText}
      </Notice>
      <SIPAccount number={account.number} domain={account.domain} password={account.sip_password} />
      <PhoneSetup number={account.number} />
      <div>
        <Button onClick={onClose}>{common.close}</Button>
      </div>
    </Stack>
  );
}
