import { Button, Drawer, Group, NumberInput, Select, Stack, Text, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { IconBuilding, IconLogin2, IconPlus, IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take, type TenantRow } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { sessionQuery, tenantsQuery } from '../../shared/queries';
import { Confirm } from '../../shared/ui/Confirm';
import { DataTable, type Column } from '../../shared/ui/DataTable';
import { Empty } from '../../shared/ui/Empty';
import { ProblemNotice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { common } from '../../texts/common';
import { tenants as texts } from '../../texts/people';
import { useEnterTenant } from '../TenantSwitch';

const columns: readonly Column<TenantRow>[] = [
  { id: 'name', header: texts.name, grow: true, value: (t) => t.name },
  { id: 'domain', header: texts.domain, value: (t) => t.domain },
  { id: 'range', header: texts.range, value: (t) => `${t.extension_first}–${t.extension_last}` },
  { id: 'zone', header: texts.zone, value: (t) => t.time_zone },
  { id: 'extensions', header: texts.extensions, end: true, value: (t) => t.extensions },
  { id: 'registrations', header: texts.registrations, end: true, value: (t) => t.registrations },
  { id: 'calls', header: texts.calls, end: true, value: (t) => t.calls },
];

/** The organisations of the box. */
export function Tenants() {
  const query = useQuery(tenantsQuery);
  const [open, setOpen] = useState<TenantRow | 'new' | null>(null);
  const tenant = open === 'new' ? undefined : (open ?? undefined);
  const add = (
    <Button leftSection={<IconPlus size={17} />} onClick={() => setOpen('new')}>
      {texts.add}
    </Button>
  );
  return (
    <Page title={texts.title} lead={texts.lead} actions={add}>
      <Panel flush>
        <DataTable
          name="tenants"
          noun={texts.noun}
          columns={columns}
          rows={query.data?.items}
          rowKey={(t) => String(t.id)}
          problem={query.error && asProblem(query.error)}
          onRow={(t) => setOpen(t)}
          empty={<Empty icon={<IconBuilding size={22} />} title={texts.title}>{texts.lead}</Empty>}
        />
      </Panel>
      <Drawer
        opened={open !== null}
        onClose={() => setOpen(null)}
        size="lg"
        title={<Text fw={620}>{tenant ? tenant.name : texts.add}</Text>}
        closeButtonProps={{ 'aria-label': common.close }}
      >
        {open !== null && <Form key={tenant?.id ?? 0} tenant={tenant} onClose={() => setOpen(null)} />}
      </Drawer>
    </Page>
  );
}

const tones = ['ITU', 'AT', 'CA', 'CH', 'DE', 'ES', 'FR', 'GB', 'IT', 'NL', 'US'] as const;
const fields = ['name', 'domain', 'extension_first', 'extension_last', 'time_zone', 'country', 'max_extensions', 'max_users'];

function Form({ tenant: t, onClose }: { tenant: TenantRow | undefined; onClose: () => void }) {
  const queries = useQueryClient();
  const enter = useEnterTenant();
  const here = useSuspenseQuery(sessionQuery).data.tenant.id;
  const [asking, setAsking] = useState(false);
  const form = useForm({
    initialValues: {
      name: t?.name ?? '',
      domain: t?.domain ?? '',
      extension_first: t?.extension_first ?? '101',
      extension_last: t?.extension_last ?? '199',
      time_zone: t?.time_zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone,
      country: t?.country ?? '',
      tones: (t?.tones ?? 'ITU') as (typeof tones)[number],
      max_extensions: (t?.max_extensions ?? 0) as number | string,
      max_users: (t?.max_users ?? 0) as number | string,
    },
  });
  const done = async () => {
    await queries.invalidateQueries({ queryKey: tenantsQuery.queryKey });
    await queries.invalidateQueries({ queryKey: sessionQuery.queryKey });
    onClose();
  };
  const save = useMutation({
    mutationFn: (v: typeof form.values) => {
      const body = { ...v, max_extensions: Number(v.max_extensions), max_users: Number(v.max_users) };
      return take(t ? client.PUT('/api/v1/tenants/{tenant}', { params: { path: { tenant: t.id } }, body }) : client.POST('/api/v1/tenants', { body }));
    },
    onSuccess: async () => {
      notifications.show({ message: texts.saved });
      await done();
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), fields),
  });
  const remove = async () => {
    if (!t) return;
    await take(client.DELETE('/api/v1/tenants/{tenant}', { params: { path: { tenant: t.id } } }));
    if (t.id === here) await enter(0);
    await done();
  };
  const problem = save.error && asProblem(save.error);
  return (
    <form noValidate onSubmit={form.onSubmit((v) => save.mutate(v))}>
      <Stack gap="md">
        {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
        <TextInput label={texts.name} maxLength={100} data-autofocus {...form.getInputProps('name')} />
        <TextInput label={texts.domain} description={texts.domainHint} maxLength={253} {...form.getInputProps('domain')} />
        <Group grow align="flex-start">
          <TextInput label={texts.first} maxLength={9} inputMode="numeric" {...form.getInputProps('extension_first')} />
          <TextInput label={texts.last} maxLength={9} inputMode="numeric" {...form.getInputProps('extension_last')} />
        </Group>
        <Select label={texts.zone} searchable data={['UTC', ...Intl.supportedValuesOf('timeZone').filter((z) => z !== 'UTC')]} allowDeselect={false} {...form.getInputProps('time_zone')} />
        <Group grow align="flex-start">
          <TextInput label={texts.country} description={texts.countryHint} maxLength={2} {...form.getInputProps('country')} />
          <Select label={texts.tones} description=" " data={[...tones]} allowDeselect={false} {...form.getInputProps('tones')} />
        </Group>
        <Group grow align="flex-start">
          <NumberInput label={texts.maxExtensions} description={texts.noLimit} min={0} max={100000} allowDecimal={false} {...form.getInputProps('max_extensions')} />
          <NumberInput label={texts.maxUsers} description={texts.noLimit} min={0} max={100000} allowDecimal={false} {...form.getInputProps('max_users')} />
        </Group>
        <Group>
          <Button type="submit" loading={save.isPending} disabled={!form.isDirty()}>
            {t ? common.save : texts.create}
          </Button>
          {t && t.id !== here && (
            <Button
              variant="default"
              leftSection={<IconLogin2 size={15} />}
              onClick={() => void enter(t.id).then(() => notifications.show({ message: texts.entered(t.name) }))}
            >
              {texts.enter}
            </Button>
          )}
          {t && (
            <Button variant="default" color="red" leftSection={<IconTrash size={15} />} onClick={() => setAsking(true)}>
              {texts.remove}
            </Button>
          )}
        </Group>
      </Stack>
      {t && <Confirm danger opened={asking} title={texts.removeTitle(t.name)} effect={texts.removeEffect} deed={texts.remove} run={remove} onClose={() => setAsking(false)} />}
    </form>
  );
}
