import { Button } from '@mantine/core';
import { IconPlus, IconUsers } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import type { Extension } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { extensionsQuery } from '../../shared/queries';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Page, Panel } from '../../shared/ui/Page';
import { State } from '../../shared/ui/State';
import { extensions as texts } from '../../texts/extensions';
import { CreateExtension } from '../extension/CreateExtension';
import { ExtensionDrawer } from '../extension/ExtensionDrawer';

const columns: readonly Column<Extension>[] = [
  { id: 'number', header: texts.number, value: (e) => e.number },
  { id: 'name', header: texts.name, grow: true, value: (e) => e.display_name },
  {
    id: 'phones',
    header: texts.phones,
    value: (e) => e.registrations,
    cell: (e) => <Reachability extension={e} />,
  },
  { id: 'rings', header: texts.rings, end: true, value: (e) => e.no_answer_seconds, cell: (e) => texts.ringSeconds(e.no_answer_seconds) },
];

export function Reachability({ extension: e }: { extension: Extension }) {
  return <State tone={e.registrations > 0 ? 'ok' : 'idle'}>{e.registrations > 0 ? texts.registered(e.registrations) : texts.notRegistered}</State>;
}

/** The list; one extension or the form for a new one opens beside it, each with an address of its own. */
export function Extensions() {
  const navigate = useNavigate();
  const { number, create } = useSearch({ from: '/shell/extensions' });
  const query = useQuery(extensionsQuery);
  const show = (search: { number?: string; create?: boolean }) => void navigate({ to: '/extensions', search });
  const add = (
    <Button leftSection={<IconPlus size={17} />} onClick={() => show({ create: true })}>
      {texts.add}
    </Button>
  );
  return (
    <Page title={texts.title} lead={texts.lead} actions={add}>
      <Panel flush>
        <DataTable
          name="extensions"
          noun={texts.noun}
          columns={columns}
          rows={query.data?.items}
          rowKey={(e) => e.number}
          problem={query.error && asProblem(query.error)}
          initialSort={{ id: 'number', desc: false }}
          onRow={(e) => show({ number: e.number })}
          empty={
            <Empty icon={<IconUsers size={22} />} title={texts.none} action={add}>
              {texts.noneText}
            </Empty>
          }
        />
      </Panel>
      <CreateExtension opened={create === true} onClose={() => show({})} taken={query.data?.items} />
      <ExtensionDrawer number={create ? undefined : number} onClose={() => show({})} />
    </Page>
  );
}
