import { ActionIcon, Collapse, Button, Group, NumberInput, Select, SimpleGrid, Stack, Switch, Textarea, TextInput } from '@mantine/core';
import type { UseFormReturnType } from '@mantine/form';
import { useDisclosure } from '@mantine/hooks';
import { IconTrash } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import type { NetworkPort } from '../../shared/api';
import { dateTime } from '../../shared/format';
import { Facts } from '../../shared/ui/Facts';
import { Panel } from '../../shared/ui/Page';
import { State } from '../../shared/ui/State';
import { network as texts } from '../../texts/network';
import type { NetworkForm, Row } from '../network';

/** An interface as it is now. */
export function PortFacts({ port }: { port: NetworkPort }) {
  const facts: [string, ReactNode][] = [
    [texts.link, !port.up ? <State tone="idle">{texts.down}</State> : port.carrier ? <State tone="ok">{texts.up}</State> : <State tone="warn">{texts.noCable}</State>],
  ];
  if (port.addresses.length > 0) facts.push([texts.addresses, port.addresses.map((a) => <div key={a}>{a}</div>)]);
  if (port.gateways.length > 0) facts.push([texts.gateways, port.gateways.join(', ')]);
  for (const lease of [port.lease, port.lease6]) {
    if (lease) facts.push([texts.lease, texts.leaseOf(lease.server, dateTime(new Date(lease.expires_at)))]);
  }
  if (port.vlan === 0) facts.push([texts.mac, port.mac]);
  facts.push([texts.mtuNow, port.mtu]);
  if (port.error !== '') facts.push([texts.failed, port.error]);
  return <Facts items={facts} />;
}

interface RowProps {
  form: UseFormReturnType<NetworkForm>;
  at: number;
  port?: NetworkPort;
  links: string[];
  onRemove: () => void;
}

/** One interface, or VLAN: as it is, and how it is set. */
export function NetworkRow({ form, at, port, links, onRemove }: RowProps) {
  const row = form.values.rows[at]!;
  const [opened, more] = useDisclosure(false);
  const field = (name: keyof Row) => form.getInputProps(`rows.${at}.${name}`);
  const flag = (name: keyof Row) => form.getInputProps(`rows.${at}.${name}`, { type: 'checkbox' });
  const title = row.vlan === 0 ? row.port || row.name || row.mac : row.name || texts.vlanOn(row.vlan, row.link);
  const hidden = ['zone', 'limit', 'routes', 'metric', 'mtu', 'search'].some((n) => form.errors[`rows.${at}.${n}`]);
  return (
    <Panel
      title={title}
      action={
        row.vlan !== 0 && (
          <ActionIcon variant="default" size="lg" aria-label={texts.removeVlan(title)} onClick={onRemove}>
            <IconTrash size={16} />
          </ActionIcon>
        )
      }
    >
      <Stack gap="md">
        {port && <PortFacts port={port} />}
        {row.vlan === 0 && <Switch label={texts.use} description={texts.useHint} {...flag('use')} />}
        {row.vlan !== 0 && (
          <SimpleGrid cols={{ base: 1, sm: 2 }}>
            <NumberInput label={texts.vlanId} min={1} max={4094} clampBehavior="none" allowDecimal={false} {...field('vlan')} />
            <Select label={texts.vlanLink} allowDeselect={false} data={[...new Set([...links, row.link])]} {...field('link')} />
          </SimpleGrid>
        )}
        {row.use && (
          <>
            <Switch label={texts.dhcp4} {...flag('dhcp4')} />
            <Switch label={texts.acceptRA} {...flag('accept_ra')} />
            <Switch label={texts.dhcp6} {...flag('dhcp6')} />
            <Textarea label={texts.static} description={texts.staticHint} autosize minRows={1} spellCheck={false} {...field('addresses')} />
            <SimpleGrid cols={{ base: 1, sm: 2 }}>
              <TextInput label={texts.gateway4} description={texts.gatewayHint} maxLength={39} autoComplete="off" {...field('gateway4')} />
              <TextInput label={texts.gateway6} description={texts.gatewayHint} maxLength={39} autoComplete="off" {...field('gateway6')} />
            </SimpleGrid>
            <Textarea label={texts.nameservers} description={texts.nameserversHint} autosize minRows={1} spellCheck={false} {...field('nameservers')} />
            <Group>
              <Button size="xs" variant="default" aria-expanded={opened || hidden} onClick={more.toggle}>
                {texts.more}
              </Button>
            </Group>
            <Collapse expanded={opened || hidden}>
              <Stack gap="md">
                <Select label={texts.zone} allowDeselect={false} data={Object.entries(texts.zones).map(([value, label]) => ({ value, label }))} {...field('zone')} />
                <Switch label={texts.noDefaultRoute} {...flag('no_default_route')} />
                <Textarea label={texts.routes} description={texts.routesHint} autosize minRows={1} spellCheck={false} {...field('routes')} />
                <Textarea label={texts.search} autosize minRows={1} spellCheck={false} {...field('search')} />
                <SimpleGrid cols={{ base: 1, sm: 2 }}>
                  <NumberInput label={texts.metric} description={texts.metricHint} min={0} allowDecimal={false} {...field('metric')} />
                  <NumberInput label={texts.limit} description={texts.limitHint} min={0} max={10_000_000} clampBehavior="none" allowDecimal={false} {...field('limit')} />
                  <NumberInput label={texts.mtu} description={texts.mtuHint} min={0} max={9216} clampBehavior="none" allowDecimal={false} {...field('mtu')} />
                </SimpleGrid>
              </Stack>
            </Collapse>
          </>
        )}
      </Stack>
    </Panel>
  );
}
