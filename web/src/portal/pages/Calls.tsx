import { Button, Drawer, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconPhoneCall, IconPhoneOff } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take, type Call } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { callsQuery } from '../../shared/queries';
import { Confirm } from '../../shared/ui/Confirm';
import { DataTable } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Notice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { calls as texts } from '../../texts/calls';
import { common } from '../../texts/common';
import { callDetailColumns } from '../columns';
import { partyText } from '../Party';
import { AlarmNotice, BothLegs } from '../Quality';
import css from './pages.module.css';

/** The quality of calls is measured anew this often; no event tells of it. */
const measureMs = 5000;

export function Calls() {
  const queries = useQueryClient();
  const query = useQuery({ ...callsQuery, refetchInterval: measureMs });
  const [open, setOpen] = useState<string | null>(null);
  const shown = query.data?.items.find((c) => c.id === open);
  const [ending, setEnding] = useState<Call | null>(null);
  const hangUp = async (call: Call) => {
    try {
      await take(client.DELETE('/api/v1/calls/{id}', { params: { path: { id: call.id } } }));
    } catch (thrown) {
      // It ended by itself meanwhile: what was wanted.
      if (asProblem(thrown).status !== 404) throw thrown;
    }
    await queries.invalidateQueries({ queryKey: callsQuery.queryKey });
    notifications.show({ message: texts.hangUpDone });
  };
  return (
    <Page title={texts.title} lead={texts.lead}>
      {query.data?.more && <Notice tone="info" title={common.cut} />}
      <Panel flush>
        <DataTable
          name="calls"
          noun={texts.noun}
          columns={callDetailColumns}
          rows={query.data?.items}
          rowKey={(c) => c.id}
          problem={query.error && asProblem(query.error)}
          onRow={(c) => setOpen(c.id)}
          rowActions={(c) => (
            <Button size="compact-sm" variant="default" leftSection={<IconPhoneOff size={15} />} onClick={() => setEnding(c)}>
              {texts.hangUp}
            </Button>
          )}
          empty={
            <Empty icon={<IconPhoneCall size={22} />} title={texts.none}>
              {texts.noneText}
            </Empty>
          }
        />
      </Panel>
      <Drawer
        opened={shown !== undefined}
        onClose={() => setOpen(null)}
        size="lg"
        title={<Text fw={620}>{texts.detail}</Text>}
        closeButtonProps={{ 'aria-label': common.close }}
      >
        {shown && (
          <div className={css.sections}>
            <AlarmNotice alarm={shown.alarm} />
            <BothLegs call={shown} />
          </div>
        )}
      </Drawer>
      <Confirm
        opened={ending !== null}
        title={texts.hangUpTitle}
        effect={ending && texts.hangUpEffect(partyText(ending.caller), partyText(ending.callee))}
        deed={texts.hangUp}
        danger
        run={() => hangUp(ending!)}
        onClose={() => setEnding(null)}
      />
    </Page>
  );
}
