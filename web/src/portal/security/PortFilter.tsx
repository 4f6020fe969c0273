import { Button, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { portFilterQuery } from '../../shared/queries';
import { Confirm } from '../../shared/ui/Confirm';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { Panel } from '../../shared/ui/Page';
import { portFilter as texts } from '../../texts/security';

/** In a cloud: whose packet filter decides about ports. */
export function PortFilter() {
  const queries = useQueryClient();
  const query = useQuery(portFilterQuery);
  const [asking, setAsking] = useState(false);
  if (query.error) return <ProblemNotice problem={asProblem(query.error)} />;
  // Outside of a cloud there is nothing to choose: this box filters.
  if (!query.data || query.data.cloud === 'none') return null;
  const { mode, cloud } = query.data;
  const other = mode === 'filter' ? 'cloud' : 'filter';
  const change = async () => {
    queries.setQueryData(portFilterQuery.queryKey, await take(client.PUT('/api/v1/security/filter', { body: { mode: other } })));
    notifications.show({ message: texts.done[other] });
  };
  return (
    <>
      {mode === 'cloud' && (
        <Notice tone="warn" title={texts.warning(cloud)}>
          {texts.warningText}
        </Notice>
      )}
      <Panel
        title={texts.title}
        action={
          <Button size="xs" variant="default" onClick={() => setAsking(true)}>
            {texts.deeds[other]}
          </Button>
        }
      >
        <Text size="sm">{texts.states[mode](cloud)}</Text>
        <Confirm opened={asking} title={texts.deeds[other]} effect={texts.effects[other](cloud)} deed={texts.deeds[other]} danger={other === 'cloud'} run={change} onClose={() => setAsking(false)} />
      </Panel>
    </>
  );
}
