import { Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { portFilterQuery } from '../../shared/queries';
import { Confirm } from '../../shared/ui/Confirm';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { Panel } from '../../shared/ui/Page';
import { common } from '../../texts/common';
import { portFilter as texts } from '../../texts/security';

/** In a cloud: whose packet filter decides about ports. */
export function PortFilter() {
  const queries = useQueryClient();
  const query = useQuery(portFilterQuery);
  const [asking, setAsking] = useState(false);
  const [leaving, setLeaving] = useState(false);
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
      {mode === 'off' && (
        <Notice tone="bad" title={texts.off.title}>
          {texts.off.text(cloud)}
        </Notice>
      )}
      <Panel
        title={texts.title}
        action={
          <Group gap="xs">
            {mode !== 'off' && (
              <Button size="xs" variant="default" onClick={() => setLeaving(true)}>
                {texts.deeds.off}
              </Button>
            )}
            <Button size="xs" variant="default" onClick={() => setAsking(true)}>
              {texts.deeds[other]}
            </Button>
          </Group>
        }
      >
        <Text size="sm">{texts.states[mode](cloud)}</Text>
        <Confirm opened={asking} title={texts.deeds[other]} effect={texts.effects[other](cloud)} deed={texts.deeds[other]} danger={other === 'cloud'} run={change} onClose={() => setAsking(false)} />
        <Modal opened={leaving} onClose={() => setLeaving(false)} title={<Text fw={620}>{texts.deeds.off}</Text>} closeButtonProps={{ 'aria-label': common.close }}>
          {leaving && <Off cloud={cloud} onDone={() => setLeaving(false)} />}
        </Modal>
      </Panel>
    </>
  );
}

/** Off has to be meant: whoever wants it types so. */
function Off({ cloud, onDone }: { cloud: string; onDone: () => void }) {
  const queries = useQueryClient();
  const [typed, setTyped] = useState('');
  const off = useMutation({
    mutationFn: () => take(client.PUT('/api/v1/security/filter', { body: { mode: 'off', confirmation: typed.trim() } })),
    onSuccess: (now) => {
      queries.setQueryData(portFilterQuery.queryKey, now);
      notifications.show({ message: texts.off.done });
      onDone();
    },
  });
  const problem = off.error && asProblem(off.error);
  return (
    <form
      noValidate
      onSubmit={(e) => {
        e.preventDefault();
        off.mutate();
      }}
    >
      <Stack gap="md">
        <Text size="sm">{texts.off.effect(cloud)}</Text>
        <TextInput label={texts.off.label} value={typed} maxLength={100} autoComplete="off" error={problem?.fields.confirmation} onChange={(e) => setTyped(e.currentTarget.value)} />
        {problem && problem.fields.confirmation === undefined && <ProblemNotice problem={problem} />}
        <Group justify="flex-end" gap="sm">
          <Button variant="default" onClick={onDone}>
            {common.cancel}
          </Button>
          <Button type="submit" color="red.8" loading={off.isPending} disabled={typed.trim() !== texts.off.phrase} data-testid="deed">
            {texts.deeds.off}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
