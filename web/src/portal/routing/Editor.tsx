import { Button, Drawer, Group, Stack, Text } from '@mantine/core';
import { useForm, type UseFormReturnType } from '@mantine/form';
import { notifications } from '@mantine/notifications';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState, type ReactNode } from 'react';
import { asProblem } from '../../shared/problems';
import { Confirm } from '../../shared/ui/Confirm';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { common } from '../../texts/common';
import { routing } from '../../texts/routing';

interface EditorProps<V> {
  title: string;
  name: (v: V) => string;
  initial: V;
  validate?: (v: V) => Record<string, string>;
  save: (v: V) => Promise<unknown>;
  /** Left out for what is new. */
  remove?: () => Promise<unknown>;
  stale: readonly (readonly unknown[])[];
  onClose: () => void;
  children: (form: UseFormReturnType<V>) => ReactNode;
}

/** One thing in a drawer: its form, and its end. Reasons of a refusal stand at their fields. */
export function Editor<V extends Record<string, unknown>>(props: EditorProps<V>) {
  return (
    <Drawer opened onClose={props.onClose} size="lg" title={<Text fw={620}>{props.title}</Text>} closeButtonProps={{ 'aria-label': common.close }}>
      <Fields {...props} />
    </Drawer>
  );
}

function Fields<V extends Record<string, unknown>>({ name, initial, validate, save, remove, stale, onClose, children }: EditorProps<V>) {
  const queries = useQueryClient();
  const [asking, setAsking] = useState(false);
  const form = useForm<V>({ initialValues: initial, validate: validate as never });
  const again = () => Promise.all(stale.map((queryKey) => queries.invalidateQueries({ queryKey })));
  const keep = useMutation({
    mutationFn: save,
    onSuccess: async (_, v) => {
      await again();
      notifications.show({ message: routing.saved(name(v)) });
      onClose();
    },
    onError: (thrown) => {
      const at: Record<string, string> = {};
      for (const [field, reason] of Object.entries(asProblem(thrown).fields)) at[field.split('.')[0]!] ??= reason;
      form.setErrors(at as never);
    },
  });
  const problem = keep.error && asProblem(keep.error);
  const elsewhere = problem ? Object.entries(problem.fields).filter(([field]) => !(field.split('.')[0]! in initial)) : [];
  return (
    <form noValidate onSubmit={form.onSubmit((v) => keep.mutate(v))}>
      <Stack gap="md">
        {problem?.status === 412 ? (
          <Notice tone="warn" title={routing.changed}>
            {routing.changedText}
          </Notice>
        ) : (
          problem && Object.keys(problem.fields).length === 0 && <ProblemNotice problem={problem} />
        )}
        {elsewhere.map(([field, reason]) => (
          <Notice key={field} tone="bad" title={field}>
            {reason}
          </Notice>
        ))}
        {children(form)}
        <Group justify="space-between" mt="xs">
          <Group>
            <Button type="submit" loading={keep.isPending}>
              {common.save}
            </Button>
            <Button variant="default" onClick={onClose}>
              {common.cancel}
            </Button>
          </Group>
          {remove && (
            <Button variant="default" c="red.8" onClick={() => setAsking(true)}>
              {routing.remove}
            </Button>
          )}
        </Group>
      </Stack>
      {remove && (
        <Confirm
          opened={asking}
          title={routing.removeTitle(name(initial))}
          effect={routing.removeEffect}
          deed={routing.remove}
          danger
          run={async () => {
            await remove();
            await again();
            notifications.show({ message: routing.removed(name(initial)) });
            onClose();
          }}
          onClose={() => setAsking(false)}
        />
      )}
    </form>
  );
}
