import { ActionIcon, Button, Group, Stack, Switch, Text, Textarea, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { IconPlus, IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { client, take, type Addresses as State } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { addressesQuery } from '../../shared/queries';
import { Facts } from '../../shared/ui/Facts';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { addresses as texts, privateNetworks } from '../../texts/addresses';
import { common } from '../../texts/common';
import css from './pages.module.css';
import type { ReactNode } from 'react';

const mostRows = 16;

/** Which addresses phones are told. */
export function Addresses() {
  const query = useQuery(addressesQuery);
  return (
    <Page title={texts.title} lead={texts.lead}>
      <div className={`${css.stack} ${css.narrow}`}>
        {query.error && <ProblemNotice problem={asProblem(query.error)} />}
        {query.data && <Detected state={query.data} />}
        {query.data && <Form state={query.data} />}
      </div>
    </Page>
  );
}

type Fact = readonly [name: string, value: ReactNode];

/** What the machine has by itself, and whether that is enough. */
function Detected({ state }: { state: State }) {
  const { detected, cloud } = state;
  const hidden = detected.length > 0 && detected.every((a) => a.inside) && cloud.length === 0 && state.public_address === '' && state.public_addresses.length === 0;
  return (
    <>
      {hidden && (
        <Notice tone="info" title={texts.hintTitle}>
          {texts.hint}
        </Notice>
      )}
      <Panel title={texts.detected}>
        {detected.length === 0 && <Text c="dimmed">{texts.detectedNone}</Text>}
        <Facts
          items={[...detected.map((a): Fact => [
            a.address,
            <span key={a.address}>
              {a.interface}
              {a.outgoing && `, ${texts.outgoing}`}
              <Text span c="dimmed" display="block" size="sm">
                {texts.place}: {(a.inside ? texts.behind : texts.open).toLowerCase()}
              </Text>
            </span>,
          ]), ...cloud.map((c): Fact => [c.public, texts.fromCloud(c.local)])]}
        />
      </Panel>
    </>
  );
}

/** What the form holds: networks one a line. */
function valuesOf({ public_address, public_addresses, advertise_always, inside_networks }: State) {
  return { public_address, public_addresses, advertise_always, inside_networks: inside_networks.join('\n') };
}

function Form({ state }: { state: State }) {
  const queries = useQueryClient();
  const form = useForm({ initialValues: valuesOf(state) });
  const rows = form.values.public_addresses;
  const save = useMutation({
    mutationFn: (v: typeof form.values) =>
      take(client.PUT('/api/v1/addresses', { body: { ...v, inside_networks: v.inside_networks.split(/[\s,;]+/).filter(Boolean) } })),
    onSuccess: (saved) => {
      queries.setQueryData(addressesQuery.queryKey, saved);
      form.setValues(valuesOf(saved));
      form.resetDirty(valuesOf(saved));
      notifications.show({ message: texts.saved });
    },
    onError: (thrown) =>
      placeProblem(form, asProblem(thrown), [
        'public_address',
        'inside_networks',
        ...rows.flatMap((_, i) => [`public_addresses.${i}.local`, `public_addresses.${i}.public`]),
      ]),
  });
  const problem = save.error && asProblem(save.error);
  const own = state.detected.find((a) => !rows.some((r) => r.local === a.address))?.address ?? '';
  return (
    <Panel title={texts.outside}>
      <form noValidate onSubmit={form.onSubmit((v) => save.mutate(v))}>
        <Stack gap="md">
          {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
          <TextInput label={texts.publicAddress} description={texts.publicHint} maxLength={45} autoComplete="off" {...form.getInputProps('public_address')} />
          <Switch label={texts.always} description={texts.alwaysHint} {...form.getInputProps('advertise_always', { type: 'checkbox' })} />
          <div role="group" aria-label={texts.more}>
            <Text size="sm" fw={500}>
              {texts.more}
            </Text>
            <Text size="xs" c="dimmed" mb="xs">
              {texts.moreHint}
            </Text>
            <Stack gap="xs">
              {rows.map((_, i) => (
                // Rows have no identity but their place.
                <Group key={i} align="flex-start" wrap="nowrap" gap="xs">
                  <TextInput style={{ flex: 1 }} label={texts.local} maxLength={45} autoComplete="off" {...form.getInputProps(`public_addresses.${i}.local`)} />
                  <TextInput style={{ flex: 1 }} label={texts.public} maxLength={45} autoComplete="off" {...form.getInputProps(`public_addresses.${i}.public`)} />
                  <ActionIcon mt={28} size="lg" variant="default" aria-label={texts.remove(i + 1)} onClick={() => form.removeListItem('public_addresses', i)}>
                    <IconTrash size={16} />
                  </ActionIcon>
                </Group>
              ))}
              <div>
                <Button
                  size="xs"
                  variant="default"
                  leftSection={<IconPlus size={15} />}
                  disabled={rows.length >= mostRows}
                  onClick={() => form.insertListItem('public_addresses', { local: own, public: '' })}
                >
                  {texts.add}
                </Button>
              </div>
            </Stack>
          </div>
          <Textarea label={texts.inside} description={texts.insideHint} autosize minRows={5} maxRows={20} spellCheck={false} {...form.getInputProps('inside_networks')} />
          <Group>
            <Button type="submit" loading={save.isPending} disabled={!form.isDirty()}>
              {common.save}
            </Button>
            <Button variant="default" onClick={() => form.setFieldValue('inside_networks', privateNetworks.join('\n'))}>
              {texts.standard}
            </Button>
          </Group>
        </Stack>
      </form>
    </Panel>
  );
}
