import { Button, Select, Stack, Text, Textarea, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useMutation } from '@tanstack/react-query';
import { client, take } from '../../shared/api';
import { placeProblem } from '../../shared/form';
import { asProblem } from '../../shared/problems';
import { CopyButton } from '../../shared/ui/Copy';
import { ProblemNotice } from '../../shared/ui/Notice';
import { Panel } from '../../shared/ui/Page';
import { portRules as texts } from '../../texts/system';

type Format = keyof typeof texts.formats;

const formats = (Object.keys(texts.formats) as Format[]).map((value) => ({ value, label: texts.formats[value] }));

/** The open ports, written for the packet filter of a cloud. */
export function PortRules() {
  const form = useForm({ initialValues: { format: 'aws-terraform' as Format, inside: '', management: '' } });
  const rules = useMutation({
    mutationFn: (query: typeof form.values) => take(client.GET('/api/v1/ports/rules', { params: { query } })),
    onError: (thrown) => placeProblem(form, asProblem(thrown), ['format', 'inside', 'management']),
  });
  const problem = rules.error && asProblem(rules.error);
  const text = rules.data?.text;
  return (
    <Panel title={texts.panel} action={text && <CopyButton text={text} what={texts.rules} label={texts.copy} />}>
      <form noValidate onSubmit={form.onSubmit((v) => rules.mutate(v))}>
        <Stack gap="md" maw={680}>
          <Text size="sm" c="dimmed">
            {texts.text}
          </Text>
          {problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />}
          <Select label={texts.format} data={formats} allowDeselect={false} {...form.getInputProps('format')} />
          <TextInput label={texts.inside} description={texts.insideHint} placeholder="10.0.0.0/16, fd12::/64" {...form.getInputProps('inside')} />
          <TextInput label={texts.management} description={texts.managementHint} placeholder="203.0.113.7" {...form.getInputProps('management')} />
          <div>
            <Button type="submit" loading={rules.isPending}>
              {texts.show}
            </Button>
          </div>
        </Stack>
      </form>
      {text && (
        <Textarea
          mt="md"
          aria-label={texts.panel}
          value={text}
          readOnly
          autosize
          minRows={6}
          maxRows={24}
          spellCheck={false}
          styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', fontSize: 12.5, whiteSpace: 'pre' } }}
        />
      )}
    </Panel>
  );
}
