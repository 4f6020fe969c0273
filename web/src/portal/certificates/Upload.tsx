import { Button, Checkbox, FileButton, Group, Input, Modal, PasswordInput, SegmentedControl, Stack, Text, Textarea } from '@mantine/core';
import { useForm } from '@mantine/form';
import { IconFile } from '@tabler/icons-react';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take, type Certificate } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { certificatesQuery } from '../../shared/queries';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { upload as texts } from '../../texts/certificates';
import { common } from '../../texts/common';

const maxFile = 64 << 10;
const kinds = (['pem', 'pkcs12'] as const).map((value) => ({ value, label: texts.kinds[value] }));
const fields = ['certificate', 'key', 'pkcs12', 'password'];
const equalWidth = { input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 12.5 } };

async function base64(file: File): Promise<string> {
  let text = '';
  for (const byte of new Uint8Array(await file.arrayBuffer())) text += String.fromCharCode(byte);
  return btoa(text);
}

/** A certificate comes in as texts, as files of texts, or as one PKCS #12 file. */
export function Upload({ onClose }: { onClose: () => void }) {
  const [made, setMade] = useState<Certificate | null>(null);
  return (
    <Modal opened onClose={onClose} size="lg" title={<Text fw={620}>{texts.title}</Text>} closeButtonProps={{ 'aria-label': common.close }}>
      {made ? <Done made={made} onClose={onClose} /> : <Form onMade={setMade} onClose={onClose} />}
    </Modal>
  );
}

function Done({ made, onClose }: { made: Certificate; onClose: () => void }) {
  return (
    <Stack gap="md">
      <Notice tone="ok" title={texts.done(made.title)}>
        {texts.doneText(made.days_left, made.in_force)}
      </Notice>
      {made.warnings.length > 0 && (
        <Notice tone="warn" title={texts.warnings}>
          {made.warnings.map((w) => (
            <div key={w}>{w}</div>
          ))}
        </Notice>
      )}
      <Group>
        <Button onClick={onClose}>{common.close}</Button>
      </Group>
    </Stack>
  );
}

function Form({ onMade, onClose }: { onMade: (c: Certificate) => void; onClose: () => void }) {
  const queries = useQueryClient();
  const form = useForm({ initialValues: { kind: 'pem', certificate: '', key: '', pkcs12: null as File | null, password: '', use: false } });
  const send = useMutation({
    mutationFn: async (v: typeof form.values) => {
      const what = v.kind === 'pem' ? { certificate: v.certificate, key: v.key } : { pkcs12: await base64(v.pkcs12!), password: v.password };
      return take(client.POST('/api/v1/certificates', { body: { ...what, use: v.use } }));
    },
    onSuccess: async (made) => {
      onMade(made);
      await queries.invalidateQueries({ queryKey: certificatesQuery.queryKey });
    },
    onError: (thrown) => placeProblem(form, asProblem(thrown), fields),
  });
  const problem = send.error && asProblem(send.error);
  const submit = (v: typeof form.values) => {
    if (v.kind === 'pkcs12' && !v.pkcs12) form.setFieldError('pkcs12', texts.noFile);
    else send.mutate(v);
  };
  const take64 = (field: 'certificate' | 'key' | 'pkcs12') => async (file: File | null) => {
    if (!file) return;
    if (file.size > maxFile) form.setFieldError(field, texts.tooLarge);
    else form.setFieldValue(field, field === 'pkcs12' ? file : await file.text());
  };
  return (
    <form noValidate onSubmit={form.onSubmit(submit)}>
      <Stack gap="md">
        {problem && !Object.keys(problem.fields).some((f) => fields.includes(f)) && <ProblemNotice problem={problem} />}
        <SegmentedControl fullWidth aria-label={texts.kind} data={kinds} {...form.getInputProps('kind')} />
        {form.values.kind === 'pem' ? (
          (['certificate', 'key'] as const).map((field) => (
            <div key={field}>
              <Textarea
                label={texts[field]}
                description={texts[`${field}Hint`]}
                placeholder={field === 'key' ? '-----BEGIN PRIVATE KEY-----' : '-----BEGIN CERTIFICATE-----'}
                autosize
                minRows={3}
                maxRows={8}
                spellCheck={false}
                autoComplete="off"
                styles={equalWidth}
                {...form.getInputProps(field)}
              />
              <FileButton onChange={(f) => void take64(field)(f)} accept=".pem,.crt,.cer,.key,.txt">
                {(props) => (
                  <Button {...props} mt={6} size="compact-sm" variant="default" leftSection={<IconFile size={15} />} aria-label={texts.fileOf(texts[field])}>
                    {texts.file}
                  </Button>
                )}
              </FileButton>
            </div>
          ))
        ) : (
          <>
            <Input.Wrapper label={texts.pkcs12} labelElement="div" error={form.errors.pkcs12}>
              <FileButton onChange={(f) => void take64('pkcs12')(f)} accept=".p12,.pfx">
                {(props) => (
                  <Button {...props} display="block" variant="default" leftSection={<IconFile size={16} />}>
                    {form.values.pkcs12 ? texts.chosen(form.values.pkcs12.name) : texts.choose}
                  </Button>
                )}
              </FileButton>
            </Input.Wrapper>
            <PasswordInput label={texts.password} autoComplete="off" {...form.getInputProps('password')} />
          </>
        )}
        <Checkbox label={texts.use} {...form.getInputProps('use', { type: 'checkbox' })} />
        <Group>
          <Button type="submit" loading={send.isPending}>
            {texts.deed}
          </Button>
          <Button variant="default" onClick={onClose}>
            {common.cancel}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
