import { Button, Group, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { IconPlus, IconSearch, IconUpload, IconUser } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import type { User } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { usersQuery } from '../../shared/queries';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Notice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { common } from '../../texts/common';
import { people as texts } from '../../texts/people';
import { CreateUser } from '../people/CreateUser';
import { ImportPeople } from '../people/ImportPeople';
import { UserDrawer } from '../people/UserDrawer';
import { roleName } from '../roles';

const columns: readonly Column<User>[] = [
  { id: 'name', header: texts.name, value: (u) => u.name },
  { id: 'full', header: texts.fullName, grow: true, value: (u) => `${u.first_name} ${u.last_name}`.trim() },
  { id: 'role', header: texts.role, value: (u) => roleName(u.role) },
  { id: 'extension', header: texts.extension, value: (u) => u.extension },
  { id: 'email', header: texts.email, value: (u) => u.email },
  { id: 'password', header: texts.password, hidden: true, value: (u) => (u.must_change_password ? texts.passwordState : '') },
];

/** The people of the organisation. */
export function Users() {
  const [search, setSearch] = useState('');
  const [asked] = useDebouncedValue(search, 250);
  const query = useQuery(usersQuery(asked));
  const [open, setOpen] = useState<User | 'new' | 'list' | null>(null);
  const close = () => setOpen(null);
  const add = (
    <Group>
      <Button variant="default" leftSection={<IconUpload size={17} />} onClick={() => setOpen('list')}>
        {texts.importTitle}
      </Button>
      <Button leftSection={<IconPlus size={17} />} onClick={() => setOpen('new')}>
        {texts.add}
      </Button>
    </Group>
  );
  return (
    <Page title={texts.title} lead={texts.lead} actions={add}>
      {query.data !== undefined && (query.data.next !== '' || search !== '') && (
        <TextInput
          mb="sm"
          aria-label={common.search}
          placeholder={common.search}
          leftSection={<IconSearch size={15} />}
          value={search}
          onChange={(e) => setSearch(e.currentTarget.value)}
        />
      )}
      {query.data?.next ? <Notice tone="info" title={texts.more} /> : null}
      <Panel flush>
        <DataTable
          name="users"
          noun={texts.noun}
          columns={columns}
          rows={query.data?.items}
          rowKey={(u) => String(u.id)}
          problem={query.error && asProblem(query.error)}
          initialSort={{ id: 'name', desc: false }}
          onRow={(u) => setOpen(u)}
          empty={
            <Empty icon={<IconUser size={22} />} title={texts.none}>
              {texts.noneText}
            </Empty>
          }
        />
      </Panel>
      <CreateUser opened={open === 'new'} onClose={close} />
      <ImportPeople opened={open === 'list'} onClose={close} />
      <UserDrawer user={open !== null && typeof open === 'object' ? open : undefined} onClose={close} />
    </Page>
  );
}
