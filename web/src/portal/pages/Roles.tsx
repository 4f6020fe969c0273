import { Button, Checkbox, Drawer, Group, Stack, Text, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { IconPlus, IconTrash, IconUserShield } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take, type Role, type RoleList } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { rolesQuery } from '../../shared/queries';
import { Confirm } from '../../shared/ui/Confirm';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { common } from '../../texts/common';
import { roles as texts } from '../../texts/people';
import { roleName } from '../roles';

const words = (list: readonly string[], of: Record<string, string>) => list.map((v) => of[v] ?? v).join(', ') || common.none;

const columns: readonly Column<Role>[] = [
  { id: 'name', header: texts.name, value: (r) => roleName(r.name) },
  { id: 'description', header: texts.description, grow: true, value: (r) => r.description },
  { id: 'classes', header: texts.classes, value: (r) => words(r.classes, texts.class) },
  { id: 'permissions', header: texts.permissions, hidden: true, value: (r) => words(r.permissions, texts.permission) },
];

/** What users may do and dial. */
export function Roles() {
  const query = useQuery(rolesQuery);
  const [open, setOpen] = useState<Role | 'new' | null>(null);
  const role = open === 'new' ? undefined : (open ?? undefined);
  const add = (
    <Button leftSection={<IconPlus size={17} />} onClick={() => setOpen('new')}>
      {texts.add}
    </Button>
  );
  return (
    <Page title={texts.title} lead={texts.lead} actions={add}>
      <Panel flush>
        <DataTable
          name="roles"
          noun={texts.noun}
          columns={columns}
          rows={query.data?.items}
          rowKey={(r) => r.name}
          problem={query.error && asProblem(query.error)}
          onRow={(r) => setOpen(r)}
          empty={<Empty icon={<IconUserShield size={22} />} title={texts.title}>{texts.lead}</Empty>}
        />
      </Panel>
      <Drawer
        opened={open !== null}
        onClose={() => setOpen(null)}
        size="lg"
        title={<Text fw={620}>{role ? roleName(role.name) : texts.add}</Text>}
        closeButtonProps={{ 'aria-label': common.close }}
      >
        {open !== null && query.data && <Form key={role?.name ?? ''} role={role} all={query.data} onClose={() => setOpen(null)} />}
      </Drawer>
    </Page>
  );
}

function Form({ role, all, onClose }: { role: Role | undefined; all: RoleList; onClose: () => void }) {
  const queries = useQueryClient();
  const [asking, setAsking] = useState(false);
  const fixed = role?.built_in === true;
  const form = useForm({
    initialValues: { name: role?.name ?? '', description: role?.description ?? '', permissions: role?.permissions ?? [], classes: role?.classes ?? ['internal'] },
  });
  const done = async () => {
    await queries.invalidateQueries({ queryKey: rolesQuery.queryKey });
    onClose();
  };
  const save = useMutation({
    mutationFn: ({ name, ...rest }: typeof form.values) => {
      const body = rest as typeof rest & { permissions: never[]; classes: never[] };
      return take(role ? client.PUT('/api/v1/roles/{role}', { params: { path: { role: name } }, body }) : client.POST('/api/v1/roles', { body: { name, ...body } }));
    },
    onSuccess: async () => {
      notifications.show({ message: texts.saved });
      await done();
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), ['name', 'description']),
  });
  const remove = async () => {
    await take(client.DELETE('/api/v1/roles/{role}', { params: { path: { role: form.values.name } } }));
    await done();
  };
  const problem = save.error && asProblem(save.error);
  const boxes = (names: readonly string[], of: Record<string, string>) => (
    <Stack gap="xs" mt="xs">
      {names.map((v) => (
        <Checkbox key={v} value={v} label={of[v] ?? v} disabled={fixed} />
      ))}
    </Stack>
  );
  return (
    <form noValidate onSubmit={form.onSubmit((v) => save.mutate(v))}>
      <Stack gap="md">
        {fixed && <Notice tone="info" title={texts.builtIn} />}
        {problem && !form.errors.name && <ProblemNotice problem={problem} />}
        {!role && <TextInput label={texts.name} description={texts.nameHint} maxLength={32} data-autofocus {...form.getInputProps('name')} />}
        <TextInput label={texts.description} maxLength={100} disabled={fixed} {...form.getInputProps('description')} />
        <Checkbox.Group label={texts.classes} {...form.getInputProps('classes')}>
          {boxes(all.classes, texts.class)}
        </Checkbox.Group>
        <Checkbox.Group label={texts.permissions} {...form.getInputProps('permissions')}>
          {boxes(all.permissions, texts.permission)}
        </Checkbox.Group>
        {!fixed && (
          <Group>
            <Button type="submit" loading={save.isPending} disabled={!form.isDirty()}>
              {role ? common.save : texts.create}
            </Button>
            {role && (
              <Button variant="default" color="red" leftSection={<IconTrash size={15} />} onClick={() => setAsking(true)}>
                {texts.remove}
              </Button>
            )}
          </Group>
        )}
      </Stack>
      {role && <Confirm danger opened={asking} title={texts.removeTitle(role.name)} effect={texts.removeEffect} deed={texts.remove} run={remove} onClose={() => setAsking(false)} />}
    </form>
  );
}
