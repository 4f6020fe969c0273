import { Button, Group, NumberInput, SegmentedControl, Stack, Tabs, TextInput } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take, type AddressCheck } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { attacks, security as texts } from '../../texts/security';
import { AllowSource, Bans } from '../security/Bans';
import { Detection } from '../security/Detection';
import { LiveAttacks } from '../security/Live';
import { Rules } from '../security/Rules';
import css from './pages.module.css';

/** Who is shut out, and why. */
export function Security() {
  const [allowing, setAllowing] = useState<string | null>(null);
  return (
    <Page title={texts.title} lead={texts.lead}>
      <div className={css.stack}>
        <Check />
        {allowing !== null && <AllowSource source={allowing} onClose={() => setAllowing(null)} />}
        <Tabs defaultValue="live" keepMounted={false}>
          <Tabs.List mb="md">
            <Tabs.Tab value="live">{attacks.tab}</Tabs.Tab>
            <Tabs.Tab value="bans">{texts.tabs.bans}</Tabs.Tab>
            <Tabs.Tab value="list">{texts.tabs.list}</Tabs.Tab>
            <Tabs.Tab value="rules">{texts.tabs.rules}</Tabs.Tab>
          </Tabs.List>
          <Tabs.Panel value="live">
            <LiveAttacks onAllow={setAllowing} />
          </Tabs.Panel>
          <Tabs.Panel value="bans">
            <Bans />
          </Tabs.Panel>
          <Tabs.Panel value="list">
            <Rules />
          </Tabs.Panel>
          <Tabs.Panel value="rules">
            <Detection />
          </Tabs.Panel>
        </Tabs>
      </div>
    </Page>
  );
}

const tones = { open: 'ok', allowed: 'ok', blocked: 'bad', banned: 'bad' } as const;

/** The question of whoever has a phone that gets no answer. */
function Check() {
  const [address, setAddress] = useState('');
  const [port, setPort] = useState<number | string>('');
  const [protocol, setProtocol] = useState<'udp' | 'tcp'>('udp');
  const look = useMutation({
    mutationFn: (a: string): Promise<AddressCheck> =>
      take(client.GET('/api/v1/security/check', { params: { query: { address: a, ...(typeof port === 'number' && { port, protocol }) } } })),
  });
  const problem = look.error && asProblem(look.error);
  return (
    <Panel title={texts.check}>
      <form
        noValidate
        onSubmit={(e) => {
          e.preventDefault();
          look.mutate(address.trim());
        }}
      >
        <Stack gap="sm">
          <Group align="flex-end" gap="sm">
            <TextInput
              label={texts.checkLabel}
              value={address}
              maxLength={45}
              autoComplete="off"
              error={problem?.fields.address}
              onChange={(e) => setAddress(e.currentTarget.value)}
            />
            <NumberInput label={texts.checkPort} w={130} value={port} min={1} max={65535} allowDecimal={false} allowNegative={false} hideControls error={problem?.fields.port} onChange={setPort} />
            <SegmentedControl
              aria-label={texts.checkProtocol}
              value={protocol}
              onChange={(v) => setProtocol(v as 'udp' | 'tcp')}
              data={[
                { value: 'udp', label: 'UDP' },
                { value: 'tcp', label: 'TCP' },
              ]}
            />
            <Button type="submit" variant="default" loading={look.isPending} disabled={address.trim() === ''}>
              {texts.checkDeed}
            </Button>
          </Group>
          {problem && problem.fields.address === undefined && problem.fields.port === undefined && <ProblemNotice problem={problem} />}
          {look.data && (
            <Notice tone={tones[look.data.verdict]} title={`${look.data.address}: ${texts.verdicts[look.data.verdict]}`}>
              {look.data.explanation}
            </Notice>
          )}
          {look.data?.packet && (
            <Notice tone={look.data.packet.accepted ? 'ok' : 'bad'} title={look.data.packet.explanation}>
              {look.data.packet.rules.map((rule) => (
                <div key={rule} className="mono">
                  {rule}
                </div>
              ))}
            </Notice>
          )}
        </Stack>
      </form>
    </Panel>
  );
}
