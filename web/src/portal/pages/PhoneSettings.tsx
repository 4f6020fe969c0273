import { Button, NumberInput, Select, Stack, Switch, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { client, take, type Tenant } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { sessionQuery, tenantQuery } from '../../shared/queries';
import { ProblemNotice } from '../../shared/ui/Notice';
import { Page, Panel } from '../../shared/ui/Page';
import { common } from '../../texts/common';
import { phones as texts } from '../../texts/extensions';
import { CallSettings } from './CallSettings';
import css from './pages.module.css';

/** How the phones of the organisation register and call. */
export function PhoneSettings() {
  const query = useQuery(tenantQuery);
  return (
    <Page title={texts.title} lead={texts.lead}>
      <div className={`${css.stack} ${css.narrow}`}>
        {query.error && <ProblemNotice problem={asProblem(query.error)} />}
        {query.data && <Form tenant={query.data} />}
        {query.data && <CallSettings tenant={query.data} />}
      </div>
    </Page>
  );
}

const digests = (['md5', 'both', 'sha256'] as const).map((value) => ({ value, label: texts.digests[value] }));

function Form({ tenant }: { tenant: Tenant }) {
  const queries = useQueryClient();
  const form = useForm({
    initialValues: {
      name: tenant.name,
      digest: tenant.digest,
      tls_only: tenant.tls_only,
      max_contacts: tenant.max_contacts as number | string,
      qualify_seconds: tenant.qualify_seconds as number | string,
      qualify_failures: tenant.qualify_failures as number | string,
    },
  });
  const save = useMutation({
    mutationFn: (v: typeof form.values) =>
      take(
        client.PUT('/api/v1/tenant', {
          body: {
            name: v.name.trim(),
            digest: v.digest,
            tls_only: v.tls_only,
            max_contacts: Number(v.max_contacts),
            qualify_seconds: Number(v.qualify_seconds),
            qualify_failures: Number(v.qualify_failures),
          },
        }),
      ),
    onSuccess: async (saved, values) => {
      queries.setQueryData(tenantQuery.queryKey, saved);
      form.resetDirty(values);
      await queries.invalidateQueries({ queryKey: sessionQuery.queryKey });
      notifications.show({ message: texts.saved });
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), ['name', 'digest', 'max_contacts', 'qualify_seconds', 'qualify_failures'], {}),
  });
  const problem = save.error && asProblem(save.error);
  return (
    <Panel title={texts.panel}>
      <form onSubmit={form.onSubmit((v) => save.mutate(v))}>
        <Stack gap="md">
          {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
          <TextInput label={texts.name} maxLength={100} required {...form.getInputProps('name')} />
          <TextInput label={texts.domain} description={texts.domainHint} value={tenant.domain} readOnly />
          <Switch label={texts.tlsOnly} description={texts.tlsOnlyHint} {...form.getInputProps('tls_only', { type: 'checkbox' })} />
          <Select label={texts.digest} description={texts.digestHint} data={digests} allowDeselect={false} {...form.getInputProps('digest')} />
          <NumberInput label={texts.maxContacts} description={texts.maxContactsHint} min={1} max={50} allowDecimal={false} {...form.getInputProps('max_contacts')} />
          <NumberInput label={texts.qualify} description={texts.qualifyHint} min={0} max={600} suffix=" s" allowDecimal={false} {...form.getInputProps('qualify_seconds')} />
          <NumberInput label={texts.failures} min={1} max={10} allowDecimal={false} {...form.getInputProps('qualify_failures')} />
          <div>
            <Button type="submit" loading={save.isPending} disabled={!form.isDirty()}>
              {common.save}
            </Button>
          </div>
        </Stack>
      </form>
    </Panel>
  );
}
