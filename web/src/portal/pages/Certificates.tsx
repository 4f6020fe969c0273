import { Button, Drawer, Group, Stack, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconCertificate, IconUpload } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take, type Certificate } from '../../shared/api';
import { dateTime, fingerprint } from '../../shared/format';
import { asProblem } from '../../shared/problems';
import { certificatesQuery } from '../../shared/queries';
import { Confirm } from '../../shared/ui/Confirm';
import { Copyable } from '../../shared/ui/Copy';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { Facts } from '../../shared/ui/Facts';
import { Notice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { State, type Tone } from '../../shared/ui/State';
import { certificates as texts, upload } from '../../texts/certificates';
import { common } from '../../texts/common';
import { Automatic } from '../certificates/Automatic';
import { Upload } from '../certificates/Upload';

/** Below so many days a certificate is warned of. */
const soonDays = 14;

function tone(c: Certificate): Tone {
  if (c.days_left < 0) return 'bad';
  return c.days_left < soonDays ? 'warn' : 'ok';
}

/** Whose askers are shown it, the one in force to all the others too. */
function uses(c: Certificate): string {
  if (!c.in_force) return c.used_for.join(', ') || texts.nothing;
  return c.used_for.length > 0 ? `${c.used_for.join(', ')}, ${texts.everybody}` : texts.everybody;
}

/** Issuers are distinguished names (RFC 4514): the common name is what people know. */
const commonName = (issuer: string) => /(?:^|,)CN=((?:\\.|[^,\\+])+)/.exec(issuer)?.[1] ?? issuer;

const columns: readonly Column<Certificate>[] = [
  { id: 'name', header: texts.name, value: (c) => c.title, cell: (c) => <span style={{ fontWeight: 550 }}>{c.title}</span> },
  { id: 'force', header: texts.inForce, value: (c) => (c.in_force ? texts.inForce : ''), cell: (c) => (c.in_force ? <State tone="ok">{texts.inForce}</State> : common.none) },
  { id: 'expires', header: texts.expires, value: (c) => c.days_left, cell: (c) => <State tone={tone(c)}>{texts.left(c.days_left)}</State> },
  { id: 'used', header: texts.usedFor, grow: true, value: uses },
  { id: 'issuer', header: texts.issuer, value: (c) => commonName(c.issuer), cell: (c) => <span className="nowrap">{commonName(c.issuer)}</span> },
  { id: 'source', header: texts.source, value: (c) => texts.sources[c.source], hidden: true },
  { id: 'names', header: texts.names, value: (c) => c.names.join(', '), hidden: true },
  { id: 'fingerprint', header: texts.fingerprint, value: (c) => c.fingerprint, cell: (c) => <span className="mono">{c.fingerprint}</span>, hidden: true },
];

/** The certificates of HTTPS, WSS and SIP over TLS: which are here, which is shown, where the next comes from. */
export function Certificates() {
  const query = useQuery(certificatesQuery);
  const [open, setOpen] = useState<string | null>(null);
  const [adding, setAdding] = useState(false);
  const list = query.data;
  const chosen = list?.items.find((c) => c.id === open);
  const add = (
    <Button leftSection={<IconUpload size={17} />} onClick={() => setAdding(true)}>
      {upload.open}
    </Button>
  );
  return (
    <Page title={texts.title} lead={texts.lead} actions={add}>
      {list && list.uncovered.length > 0 && (
        <Notice tone="warn" title={texts.uncovered(list.uncovered)}>
          {texts.uncoveredText}
        </Notice>
      )}
      {list?.faults.map((f) => (
        <Notice key={f} tone="bad" title={texts.faults}>
          {f}
        </Notice>
      ))}
      <Panel flush>
        <DataTable
          name="certificates"
          noun={texts.noun}
          columns={columns}
          rows={list?.items}
          rowKey={(c) => c.id}
          problem={query.error && asProblem(query.error)}
          onRow={(c) => setOpen(c.id)}
          empty={
            <Empty icon={<IconCertificate size={22} />} title={texts.none}>
              {texts.noneText}
            </Empty>
          }
        />
      </Panel>
      <Automatic />
      {chosen && <Details certificate={chosen} onClose={() => setOpen(null)} />}
      {adding && <Upload onClose={() => setAdding(false)} />}
    </Page>
  );
}

function Details({ certificate: c, onClose }: { certificate: Certificate; onClose: () => void }) {
  const queries = useQueryClient();
  const [asking, setAsking] = useState<'choose' | 'remove' | null>(null);
  const again = () => queries.invalidateQueries({ queryKey: certificatesQuery.queryKey });
  const choose = async () => {
    await take(client.PUT('/api/v1/certificates/in-force', { body: { id: c.id } }));
    await again();
    notifications.show({ message: texts.chosen(c.title) });
  };
  const remove = async () => {
    await take(client.DELETE('/api/v1/certificates/{id}', { params: { path: { id: c.id } } }));
    notifications.show({ message: texts.removed(c.title) });
    onClose();
    await again();
  };
  return (
    <Drawer opened onClose={onClose} size="lg" title={<Text fw={620}>{c.title}</Text>} closeButtonProps={{ 'aria-label': common.close }}>
      <Stack gap="md">
        {c.warnings.map((w) => (
          <Notice key={w} tone={c.days_left < 0 ? 'bad' : 'warn'} title={w[0]!.toUpperCase() + w.slice(1)} />
        ))}
        <Facts
          items={[
            [texts.names, c.names.join(', ') || common.none],
            [texts.usedFor, uses(c)],
            [texts.expires, <State key="left" tone={tone(c)}>{texts.left(c.days_left)}</State>],
            [texts.valid, texts.from(dateTime(new Date(c.not_before)), dateTime(new Date(c.not_after)))],
            [texts.source, texts.sources[c.source]],
            [texts.issuer, c.issuer || common.none],
            [texts.trusted, c.trusted ? texts.isTrusted : texts.notTrusted],
            [texts.key, c.key],
            [texts.chain, texts.chainOf(c.chain)],
            [texts.fingerprint, <Copyable key="fingerprint" text={fingerprint(c.fingerprint).join(' ')} what={texts.fingerprint} />],
          ]}
        />
        <Group justify="space-between">
          {c.in_force ? <State tone="ok">{texts.inForce}</State> : <Button onClick={() => setAsking('choose')}>{texts.choose}</Button>}
          {c.id !== 'standard' && (
            <Button variant="default" c="red.8" onClick={() => setAsking('remove')}>
              {texts.remove}
            </Button>
          )}
        </Group>
      </Stack>
      <Confirm opened={asking === 'choose'} title={texts.chooseTitle(c.title)} effect={texts.chooseEffect} deed={texts.choose} run={choose} onClose={() => setAsking(null)} />
      <Confirm opened={asking === 'remove'} title={texts.removeTitle(c.title)} effect={texts.removeEffect} deed={texts.removeDeed} danger run={remove} onClose={() => setAsking(null)} />
    </Drawer>
  );
}
