import { Button, Drawer, Group, Stack, Text } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { IconKey, IconTrash } from '@tabler/icons-react';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take, type User } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { Secret } from '../../shared/ui/Copy';
import { Confirm } from '../../shared/ui/Confirm';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { common } from '../../texts/common';
import { people as texts } from '../../texts/people';
import css from '../pages/pages.module.css';
import { UserForm, userFields, userValues } from './UserForm';

/** One user: settings, a new password, the end. */
export function UserDrawer({ user, onClose }: { user: User | undefined; onClose: () => void }) {
  return (
    <Drawer opened={user !== undefined} onClose={onClose} size="lg" title={<Text fw={620}>{user?.name}</Text>} closeButtonProps={{ 'aria-label': common.close }}>
      {user && <Sections key={user.id} user={user} onClose={onClose} />}
    </Drawer>
  );
}

function Sections({ user, onClose }: { user: User; onClose: () => void }) {
  const queries = useQueryClient();
  const path = { user: user.id };
  const form = useForm({ initialValues: userValues(user) });
  const [asking, setAsking] = useState<'password' | 'end' | null>(null);
  const [password, setPassword] = useState<string>();
  const changed = () => queries.invalidateQueries({ queryKey: ['users'] });
  const save = useMutation({
    mutationFn: ({ make: _, ...body }: typeof form.values) => take(client.PUT('/api/v1/users/{user}', { params: { path }, body })),
    onSuccess: async (_saved, values) => {
      form.resetDirty(values);
      await changed();
      notifications.show({ message: texts.saved });
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), userFields),
  });
  const renew = async () => {
    const made = await take(client.PUT('/api/v1/users/{user}/password', { params: { path }, body: {} }));
    setPassword(made.password);
    await changed();
  };
  const remove = async () => {
    await take(client.DELETE('/api/v1/users/{user}', { params: { path } }));
    await changed();
    onClose();
  };
  const problem = save.error && asProblem(save.error);
  return (
    <Stack gap="lg">
      <form noValidate onSubmit={form.onSubmit((v) => save.mutate(v))}>
        <Stack gap="md">
          {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
          <UserForm form={form} />
          <div>
            <Button type="submit" loading={save.isPending} disabled={!form.isDirty()}>
              {common.save}
            </Button>
          </div>
        </Stack>
      </form>
      <section className={css.section}>
        <h3>{texts.password}</h3>
        <Stack gap="sm">
          {password !== undefined && (
            <Notice tone="ok" title={texts.onceTitle}>
              <Secret text={password} what={texts.password} shown />
            </Notice>
          )}
          <Group>
            <Button size="xs" variant="default" leftSection={<IconKey size={15} />} onClick={() => setAsking('password')}>
              {texts.newPassword}
            </Button>
            <Button size="xs" variant="default" color="red" leftSection={<IconTrash size={15} />} onClick={() => setAsking('end')}>
              {texts.remove}
            </Button>
          </Group>
        </Stack>
      </section>
      <Confirm
        opened={asking === 'password'}
        title={texts.newPasswordTitle(user.name)}
        effect={texts.newPasswordEffect}
        deed={texts.newPassword}
        run={renew}
        onClose={() => setAsking(null)}
      />
      <Confirm
        danger
        opened={asking === 'end'}
        title={texts.removeTitle(user.name)}
        effect={texts.removeEffect}
        deed={texts.remove}
        run={remove}
        onClose={() => setAsking(null)}
      />
    </Stack>
  );
}
