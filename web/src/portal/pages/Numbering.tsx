import { Button, Group, MultiSelect, NumberInput, Select, Stack, Switch, TagsInput, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { client, take } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { common } from '../../texts/common';
import { numbering as texts } from '../../texts/routing';
import { countriesQuery, numberingQuery, type Numbering as State } from '../routing/queries';

export function Numbering() {
  const query = useQuery(numberingQuery);
  return (
    <Page title={texts.title} lead={texts.lead}>
      {query.error && <ProblemNotice problem={asProblem(query.error)} />}
      {query.data && <Form key={JSON.stringify(query.data)} state={query.data} />}
    </Page>
  );
}

const valuesOf = (n: State) => ({
  ...n,
  emergency: n.emergency.map((e) => (e.name ? `${e.number} ${e.name}` : e.number)),
  max_calls: n.max_calls as number | string,
  money_day: (n.caps.money_day ?? 0) as number | string,
});

function bodyOf({ money_day, emergency_routes: _, ...v }: ReturnType<typeof valuesOf>) {
  return {
    ...v,
    emergency: v.emergency.map((text) => ({ number: text.split(' ')[0]!, name: text.split(' ').slice(1).join(' ') })),
    max_calls: Number(v.max_calls),
    caps: { ...v.caps, money_day: Number(money_day) },
  };
}

function Form({ state }: { state: State }) {
  const queries = useQueryClient();
  const countries = useQuery(countriesQuery).data ?? [];
  const form = useForm({ initialValues: valuesOf(state) });
  const save = useMutation({
    mutationFn: (v: typeof form.values) => take(client.PATCH('/api/v1/numbering', { body: bodyOf(v) })),
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: numberingQuery.queryKey });
      notifications.show({ message: texts.saved });
    },
    onError: (thrown) => {
      const at: Record<string, string> = {};
      for (const [field, reason] of Object.entries(asProblem(thrown).fields)) at[field === 'caps.money_day' ? 'money_day' : field.split('.')[0]!] ??= reason;
      form.setErrors(at);
    },
  });
  const problem = save.error && asProblem(save.error);
  const home = countries.find((c) => c.iso === form.values.country);
  const named = countries.filter((c) => c.iso !== '');
  const codes = new Map(countries.flatMap((c) => (c.codes ?? []).map((code): [string, string] => [code, `${c.name} (+${code})`])));
  for (const code of form.values.allowed) if (!codes.has(code)) codes.set(code, `+${code}`);
  return (
    <form noValidate onSubmit={form.onSubmit((v) => save.mutate(v))}>
      <Stack gap="md">
        {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
        <Panel title={texts.dialling}>
          <Stack gap="md">
            <Select searchable label={texts.country} data={named.map((c) => ({ value: c.iso, label: c.name }))} {...form.getInputProps('country')} />
            <Group align="flex-start" gap="sm" grow>
              <TextInput label={texts.area} description={texts.areaHint} maxLength={6} {...form.getInputProps('area_code')} />
              <TextInput label={texts.outside} description={texts.outsideHint} maxLength={3} {...form.getInputProps('outside')} />
            </Group>
          </Stack>
        </Panel>
        <Panel title={texts.emergency}>
          <Stack gap="md">
            {home && <Notice tone="info" title={texts.emergencyAlways((home.emergency ?? []).join(', '))} />}
            <TagsInput label={texts.emergencyMore} description={texts.emergencyMoreHint} {...form.getInputProps('emergency')} />
            <TagsInput label={texts.notify} description={texts.notifyHint} {...form.getInputProps('emergency_notify')} />
          </Stack>
        </Panel>
        <Panel title={texts.countries}>
          <Stack gap="md">
            <MultiSelect searchable label={texts.countries} description={texts.countriesHint} data={[...codes].map(([value, label]) => ({ value, label }))} {...form.getInputProps('allowed')} />
            <TagsInput label={texts.disallowed} description={texts.disallowedHint} {...form.getInputProps('disallowed')} />
          </Stack>
        </Panel>
        <Panel title={texts.bounds}>
          <Stack gap="md">
            <Group align="flex-start" gap="sm" grow>
              <NumberInput label={texts.maxCalls} description={texts.zeroNone} min={0} max={10000} {...form.getInputProps('max_calls')} />
              <NumberInput label={texts.moneyDay} description={texts.zeroNone} min={0} decimalScale={2} {...form.getInputProps('money_day')} />
              <TextInput label={texts.currency} description="EUR, CHF, USD …" maxLength={3} {...form.getInputProps('currency')} />
            </Group>
            <Switch label={texts.night} description={texts.nightHint} checked={form.values.night === 'on'} onChange={(e) => form.setFieldValue('night', e.currentTarget.checked ? 'on' : 'auto')} />
            <Switch label={texts.anonymous} {...form.getInputProps('reject_anonymous', { type: 'checkbox' })} />
          </Stack>
        </Panel>
        <div>
          <Button type="submit" loading={save.isPending} disabled={!form.isDirty()}>
            {common.save}
          </Button>
        </div>
      </Stack>
    </form>
  );
}
