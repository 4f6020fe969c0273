import { Button, Stack } from '@mantine/core';
import { IconDeviceLandlinePhone, IconKey } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { ownQuery, ownRegistrationsQuery } from '../../shared/queries';
import { Secret } from '../../shared/ui/Copy';
import { Confirm } from '../../shared/ui/Confirm';
import { Empty } from '../../shared/ui/Empty';
import { Facts } from '../../shared/ui/Facts';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { own as texts, roles } from '../../texts/people';
import { extensions } from '../../texts/extensions';
import { Handling } from '../extension/Handling';
import css from './pages.module.css';

/** What is the user's own: extension, phones, call handling, SIP password. */
export function Own() {
  const query = useQuery(ownQuery);
  const phones = useQuery(ownRegistrationsQuery).data?.items ?? [];
  const [asking, setAsking] = useState(false);
  const [password, setPassword] = useState<string>();
  const renew = async () => setPassword((await take(client.PUT('/api/v1/own/sip-password', { body: {} }))).sip_password);
  const e = query.data?.extension;
  return (
    <Page title={texts.title} lead={texts.lead}>
      {query.error && <ProblemNotice problem={asProblem(query.error)} />}
      {query.data && !e && (
        <Panel>
          <Empty icon={<IconDeviceLandlinePhone size={22} />} title={texts.none}>
            {texts.noneText}
          </Empty>
        </Panel>
      )}
      {query.data && e && (
        <div className={`${css.stack} ${css.narrow}`}>
          <Panel title={texts.title}>
            <Facts
              items={[
                [texts.number, e.number],
                [texts.name, e.display_name || undefined],
                [texts.dials, query.data.dials.map((c) => (roles.class as Record<string, string>)[c] ?? c).join(', ') || undefined],
                [texts.phones, phones.length > 0 ? phones.map((r) => r.user_agent || r.contact).join(', ') : texts.noPhones],
              ]}
            />
            <Stack gap="sm" mt="md">
              {password !== undefined && (
                <Notice tone="ok" title={extensions.onceTitle}>
                  <Secret text={password} what={texts.sip} shown />
                </Notice>
              )}
              <div>
                <Button size="xs" variant="default" leftSection={<IconKey size={15} />} onClick={() => setAsking(true)}>
                  {extensions.renew}
                </Button>
              </div>
            </Stack>
          </Panel>
          <Panel>
            <Handling key={e.number} extension={e} own />
          </Panel>
        </div>
      )}
      <Confirm opened={asking} title={texts.sipTitle} effect={texts.sipEffect} deed={extensions.renew} run={renew} onClose={() => setAsking(false)} />
    </Page>
  );
}
