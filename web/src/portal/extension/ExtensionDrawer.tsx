import { Button, Drawer, Group, NumberInput, Select, Stack, Text, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { IconHistory, IconKey, IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { client, take, type Extension } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { extensionsQuery, sessionQuery } from '../../shared/queries';
import { ButtonLink } from '../../shared/ui/ButtonLink';
import { Confirm } from '../../shared/ui/Confirm';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { common } from '../../texts/common';
import { extensions as texts } from '../../texts/extensions';
import { dtmf, media } from '../../texts/media';
import { Reachability } from '../pages/Extensions';
import css from '../pages/pages.module.css';
import { MediaSecurity } from '../MediaSecurity';
import { Handling } from './Handling';
import { PhoneSetup } from './PhoneSetup';
import { SIPAccount } from './SIPAccount';

/** One extension: connect a phone, its account, its settings, its end. */
export function ExtensionDrawer({ number, onClose }: { number: string | undefined; onClose: () => void }) {
  const list = useQuery(extensionsQuery);
  const extension = list.data?.items.find((e) => e.number === number);
  // The drawer keeps its content while it slides away.
  const [shown, setShown] = useState<Extension>();
  useEffect(() => {
    if (extension) setShown(extension);
  }, [extension]);
  // Gone meanwhile, or an address that never was.
  const missing = number !== undefined && list.data !== undefined && extension === undefined;
  useEffect(() => {
    if (missing) onClose();
  }, [missing, onClose]);
  const e = extension ?? shown;
  return (
    <Drawer
      opened={extension !== undefined}
      onClose={onClose}
      size="lg"
      title={
        e && (
          <Group gap="md">
            <Text fw={620}>{`${e.number} ${e.display_name}`}</Text>
            <Text size="sm" component="span">
              <Reachability extension={e} />
            </Text>
          </Group>
        )
      }
      closeButtonProps={{ 'aria-label': common.close }}
    >
      {e && <Sections key={e.number} extension={e} onGone={onClose} />}
    </Drawer>
  );
}

function Sections({ extension, onGone }: { extension: Extension; onGone: () => void }) {
  return (
    <div className={css.sections}>
      <PhoneSetup number={extension.number} />
      <Account number={extension.number} />
      <Settings extension={extension} />
      <Handling extension={extension} />
      <section className={css.section}>
        <ButtonLink to="/cdrs" search={{ extension: extension.number }} variant="default" leftSection={<IconHistory size={16} />}>
          {texts.recent}
        </ButtonLink>
      </section>
      <Removal extension={extension} onGone={onGone} />
    </div>
  );
}

function Account({ number }: { number: string }) {
  const { tenant } = useSuspenseQuery(sessionQuery).data;
  const [asking, setAsking] = useState(false);
  const [password, setPassword] = useState<string>();
  const renew = async () => {
    const account = await take(client.POST('/api/v1/extensions/{number}/sip-password', { params: { path: { number } } }));
    setPassword(account.sip_password);
  };
  return (
    <>
      <SIPAccount
        number={number}
        domain={tenant.domain}
        password={password}
        action={
          <Stack mt="sm" gap="sm">
            {password !== undefined && (
              <Notice tone="ok" title={texts.onceTitle}>
                {texts.onceText}
              </Notice>
            )}
            <div>
              <Button size="xs" variant="default" leftSection={<IconKey size={15} />} onClick={() => setAsking(true)}>
                {texts.renew}
              </Button>
            </div>
          </Stack>
        }
      />
      <Confirm opened={asking} title={texts.renewTitle(number)} effect={texts.renewEffect} deed={texts.renew} run={renew} onClose={() => setAsking(false)} />
    </>
  );
}

const digits = dtmf.forms.map((value) => ({ value, label: dtmf.names[value] }));

function Settings({ extension }: { extension: Extension }) {
  const queries = useQueryClient();
  const form = useForm({
    initialValues: {
      display_name: extension.display_name,
      no_answer_seconds: extension.no_answer_seconds as number | string,
      media_security: extension.media_security,
      dtmf: extension.dtmf,
    },
  });
  const save = useMutation({
    mutationFn: (v: typeof form.values) =>
      take(
        client.PUT('/api/v1/extensions/{number}', {
          params: { path: { number: extension.number } },
          body: { display_name: v.display_name.trim(), no_answer_seconds: Number(v.no_answer_seconds), media_security: v.media_security, dtmf: v.dtmf },
        }),
      ),
    onSuccess: async (_saved, values) => {
      form.resetDirty(values);
      await queries.invalidateQueries({ queryKey: extensionsQuery.queryKey });
      notifications.show({ message: texts.saved });
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), ['display_name', 'no_answer_seconds', 'media_security', 'dtmf'], { no_answer: 'no_answer_seconds' }),
  });
  const problem = save.error && asProblem(save.error);
  return (
    <section className={css.section}>
      <h3>{texts.settings}</h3>
      <form onSubmit={form.onSubmit((v) => save.mutate(v))}>
        <Stack gap="md">
          {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
          <TextInput label={texts.name} description={texts.nameHint} maxLength={100} {...form.getInputProps('display_name')} />
          <NumberInput label={texts.rings} description={texts.ringsHint} min={5} max={180} suffix=" s" allowDecimal={false} {...form.getInputProps('no_answer_seconds')} />
          <MediaSecurity label={media.label} {...form.getInputProps('media_security')} />
          <Select label={dtmf.label} description={dtmf.hints[form.values.dtmf]} data={digits} allowDeselect={false} {...form.getInputProps('dtmf')} />
          <div>
            <Button type="submit" loading={save.isPending} disabled={!form.isDirty()}>
              {common.save}
            </Button>
          </div>
        </Stack>
      </form>
    </section>
  );
}

function Removal({ extension, onGone }: { extension: Extension; onGone: () => void }) {
  const queries = useQueryClient();
  const [asking, setAsking] = useState(false);
  const { number, registrations } = extension;
  const remove = async () => {
    await take(client.DELETE('/api/v1/extensions/{number}', { params: { path: { number } } }));
    await queries.invalidateQueries({ queryKey: extensionsQuery.queryKey });
    notifications.show({ message: texts.removed(number) });
    onGone();
  };
  return (
    <section className={css.section}>
      <h3>{texts.danger}</h3>
      <p className="dimmed" style={{ margin: '0 0 12px' }}>
        {texts.dangerText}
      </p>
      <Button variant="default" c="red.8" leftSection={<IconTrash size={16} />} onClick={() => setAsking(true)}>
        {texts.remove}
      </Button>
      <Confirm
        opened={asking}
        title={texts.removeTitle(number)}
        effect={texts.removeEffect(number, registrations)}
        deed={texts.remove}
        danger
        run={remove}
        onClose={() => setAsking(false)}
      />
    </section>
  );
}
