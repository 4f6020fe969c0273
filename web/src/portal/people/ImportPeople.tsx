import { Button, FileButton, Group, Modal, Stack, Text, Textarea } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take } from '../../shared/api';
import { download } from '../../shared/csv';
import { asProblem } from '../../shared/problems';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { common } from '../../texts/common';
import { people as texts } from '../../texts/people';

/** A list of people: looked at first, then added whole or not at all. */
export function ImportPeople({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const queries = useQueryClient();
  const [text, setText] = useState('');
  const send = useMutation({
    mutationFn: (dry_run: boolean) => take(client.POST('/api/v1/extensions/csv', { body: { csv: text, dry_run } })),
    onSuccess: (_done, dry) => {
      if (!dry) void queries.invalidateQueries();
    },
  });
  const change = (v: string) => {
    setText(v);
    send.reset();
  };
  const close = () => {
    onClose();
    change('');
  };
  const got = send.data;
  const done = got !== undefined && got.credentials !== '';
  const good = got !== undefined && !done && got.errors.length === 0;
  return (
    <Modal opened={opened} onClose={close} size="xl" title={<Text fw={620}>{texts.importTitle}</Text>} closeButtonProps={{ 'aria-label': common.close }}>
      <Stack gap="md">
        <Text size="sm">{texts.importLead}</Text>
        {send.error && <ProblemNotice problem={asProblem(send.error)} />}
        {done ? (
          <Notice tone="ok" title={texts.importDone}>
            <Button mt="xs" size="xs" onClick={() => download('passwords.csv', 'text/csv', got.credentials)}>
              {texts.importSave}
            </Button>
          </Notice>
        ) : (
          <Textarea label={texts.importText} value={text} onChange={(e) => change(e.currentTarget.value)} rows={10} classNames={{ input: 'mono' }} spellCheck={false} />
        )}
        {good && <Notice tone="ok" title={texts.importGood(got.extensions, got.users)} />}
        {got !== undefined && got.errors.length > 0 && (
          <Notice tone="bad" title={texts.importBad(got.errors.length)}>
            <ul style={{ margin: 0, paddingLeft: 18, maxHeight: 240, overflow: 'auto' }}>
              {got.errors.map((e) => (
                <li key={`${e.row} ${e.column}`}>{texts.importRow(e.row, e.column, e.reason)}</li>
              ))}
            </ul>
          </Notice>
        )}
        {!done && (
          <Group>
            <FileButton accept=".csv,text/csv" onChange={(f) => f && void f.text().then(change)}>
              {(props) => (
                <Button variant="default" {...props}>
                  {texts.importFile}
                </Button>
              )}
            </FileButton>
            <Button variant={good ? 'default' : 'filled'} disabled={text === ''} loading={send.isPending} onClick={() => send.mutate(true)}>
              {texts.importTry}
            </Button>
            {good && (
              <Button loading={send.isPending} onClick={() => send.mutate(false)}>
                {texts.importDo(got.extensions, got.users)}
              </Button>
            )}
          </Group>
        )}
      </Stack>
    </Modal>
  );
}
