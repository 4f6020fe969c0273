import { Button, Drawer, Group as Row, Stack, TagsInput, Text, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { IconPlus, IconTrash, IconUsersGroup } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take, type Group } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { extensionsQuery, groupsQuery } from '../../shared/queries';
import { Confirm } from '../../shared/ui/Confirm';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { ProblemNotice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { common } from '../../texts/common';
import { groups as texts } from '../../texts/people';

const columns: readonly Column<Group>[] = [
  { id: 'name', header: texts.name, value: (g) => g.name },
  { id: 'members', header: texts.members, grow: true, value: (g) => g.members.join(', ') },
];

/** Groups of extensions. */
export function Groups() {
  const query = useQuery(groupsQuery);
  const [open, setOpen] = useState<Group | 'new' | null>(null);
  const group = open === 'new' ? undefined : (open ?? undefined);
  const add = (
    <Button leftSection={<IconPlus size={17} />} onClick={() => setOpen('new')}>
      {texts.add}
    </Button>
  );
  return (
    <Page title={texts.title} lead={texts.lead} actions={add}>
      <Panel flush>
        <DataTable
          name="groups"
          noun={texts.noun}
          columns={columns}
          rows={query.data?.items}
          rowKey={(g) => String(g.id)}
          problem={query.error && asProblem(query.error)}
          onRow={(g) => setOpen(g)}
          empty={
            <Empty icon={<IconUsersGroup size={22} />} title={texts.none}>
              {texts.noneText}
            </Empty>
          }
        />
      </Panel>
      <Drawer
        opened={open !== null}
        onClose={() => setOpen(null)}
        size="lg"
        title={<Text fw={620}>{group ? group.name : texts.add}</Text>}
        closeButtonProps={{ 'aria-label': common.close }}
      >
        {open !== null && <Form key={group?.id ?? 0} group={group} onClose={() => setOpen(null)} />}
      </Drawer>
    </Page>
  );
}

function Form({ group, onClose }: { group: Group | undefined; onClose: () => void }) {
  const queries = useQueryClient();
  const numbers = useQuery(extensionsQuery).data?.items ?? [];
  const [asking, setAsking] = useState(false);
  const form = useForm({ initialValues: { name: group?.name ?? '', members: group?.members ?? [] } });
  const done = async () => {
    await queries.invalidateQueries({ queryKey: groupsQuery.queryKey });
    onClose();
  };
  const save = useMutation({
    mutationFn: (body: typeof form.values) =>
      take(group ? client.PUT('/api/v1/groups/{group}', { params: { path: { group: group.id } }, body }) : client.POST('/api/v1/groups', { body })),
    onSuccess: done,
    onError: (thrown) => placeProblem(form, asProblem(thrown), ['name', 'members']),
  });
  const remove = async () => {
    if (!group) return;
    await take(client.DELETE('/api/v1/groups/{group}', { params: { path: { group: group.id } } }));
    await done();
  };
  const problem = save.error && asProblem(save.error);
  return (
    <form noValidate onSubmit={form.onSubmit((v) => save.mutate(v))}>
      <Stack gap="md">
        {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
        <TextInput label={texts.name} maxLength={64} data-autofocus {...form.getInputProps('name')} />
        <TagsInput label={texts.members} description={texts.membersHint} data={numbers.map((e) => e.number)} limit={50} {...form.getInputProps('members')} />
        <Row>
          <Button type="submit" loading={save.isPending} disabled={!form.isDirty()}>
            {group ? common.save : texts.create}
          </Button>
          {group && (
            <Button variant="default" color="red" leftSection={<IconTrash size={15} />} onClick={() => setAsking(true)}>
              {texts.remove}
            </Button>
          )}
        </Row>
      </Stack>
      {group && <Confirm danger opened={asking} title={texts.removeTitle(group.name)} effect={texts.removeEffect} deed={texts.remove} run={remove} onClose={() => setAsking(false)} />}
    </form>
  );
}
