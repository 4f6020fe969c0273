import { Button, Drawer, Group, Stack, Text } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take, type UserCreated } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { extensionsQuery } from '../../shared/queries';
import { Copyable, Secret } from '../../shared/ui/Copy';
import { Facts } from '../../shared/ui/Facts';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { common } from '../../texts/common';
import { people as texts } from '../../texts/people';
import { SIPAccount } from '../extension/SIPAccount';
import { UserForm, userFields, userValues } from './UserForm';

/** The form for a new user; afterwards its passwords, shown once. */
export function CreateUser({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const [made, setMade] = useState<UserCreated | null>(null);
  const close = () => {
    onClose();
    setMade(null);
  };
  return (
    <Drawer
      opened={opened}
      onClose={close}
      size="lg"
      title={<Text fw={620}>{made ? texts.created(made.user.name) : texts.add}</Text>}
      closeButtonProps={{ 'aria-label': common.close }}
    >
      {made ? <Made made={made} onClose={close} /> : opened && <Form onMade={setMade} onCancel={close} />}
    </Drawer>
  );
}

function Form({ onMade, onCancel }: { onMade: (u: UserCreated) => void; onCancel: () => void }) {
  const queries = useQueryClient();
  const form = useForm({ initialValues: userValues() });
  const create = useMutation({
    mutationFn: ({ make, ...v }: typeof form.values) =>
      take(client.POST('/api/v1/users', { body: { ...v, ...(make && v.extension !== '' ? { new_extension: {} } : {}) } })),
    onSuccess: (user) => {
      void queries.invalidateQueries({ queryKey: ['users'] });
      void queries.invalidateQueries({ queryKey: extensionsQuery.queryKey });
      onMade(user);
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), userFields),
  });
  const problem = create.error && asProblem(create.error);
  return (
    <form noValidate onSubmit={form.onSubmit((v) => create.mutate(v))}>
      <Stack gap="md">
        {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
        <UserForm form={form} fresh />
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

function Made({ made, onClose }: { made: UserCreated; onClose: () => void }) {
  return (
    <Stack gap="lg">
      <Notice tone="ok" title={texts.onceTitle}>
        {texts.onceText}
      </Notice>
      <Facts
        items={[
          [texts.name, <Copyable text={made.user.name} what={texts.name} />],
          [texts.password, <Secret text={made.password ?? ''} what={texts.password} shown />],
        ]}
      />
      {made.sip && <SIPAccount number={made.sip.number} domain={made.sip.domain} password={made.sip.sip_password} />}
      <div>
        <Button onClick={onClose}>{common.close}</Button>
      </div>
    </Stack>
  );
}
