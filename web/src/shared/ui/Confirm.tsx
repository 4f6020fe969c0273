import { Button, Group, Modal, Stack, Text } from '@mantine/core';
import type { ReactNode } from 'react';
import { useMutation } from '@tanstack/react-query';
import { common } from '../../texts/common';
import { asProblem } from '../problems';
import { ProblemNotice } from './Notice';

interface ConfirmProps {
  opened: boolean;
  title: string;
  /** What will happen, in full. */
  effect: ReactNode;
  /** The deed: "Delete extension", never "OK". */
  deed: string;
  danger?: boolean;
  run: () => Promise<void>;
  onClose: () => void;
}

/** States the effect of an action, asks once, and stays open when it fails. */
export function Confirm({ opened, title, effect, deed, danger = false, run, onClose }: ConfirmProps) {
  const action = useMutation({
    mutationFn: run,
    onSuccess: () => onClose(),
  });
  const close = () => {
    action.reset();
    onClose();
  };
  return (
    <Modal opened={opened} onClose={close} title={<Text fw={620}>{title}</Text>} size="md" closeButtonProps={{ 'aria-label': common.close }}>
      <Stack gap="md">
        <div style={{ lineHeight: 1.55 }}>{effect}</div>
        {action.isError && <ProblemNotice problem={asProblem(action.error)} />}
        <Group justify="flex-end" gap="sm">
          <Button variant="default" onClick={close}>
            {common.cancel}
          </Button>
          <Button color={danger ? 'red.8' : undefined} loading={action.isPending} onClick={() => action.mutate()} data-autofocus data-testid="deed">
            {deed}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
