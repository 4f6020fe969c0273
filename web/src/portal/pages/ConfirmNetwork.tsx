import { Anchor, Button, Stack, Text, Title } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { useEffect } from 'react';
import { client, take } from '../../shared/api';
import { asProblem } from '../../shared/problems';
import { Brand } from '../../shared/ui/Brand';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { network as texts } from '../../texts/network';
import css from './Login.module.css';

const tries = 4;
const pauseMs = 1500;

/** Confirms, and again by another connection if the server says that this one is an old one. */
export async function confirmNetwork(id: string): Promise<void> {
  for (let left = tries; ; left--) {
    try {
      await take(client.POST('/api/v1/network/confirm', { body: { id } }));
      return;
    } catch (thrown) {
      const old = asProblem(thrown).status === 409 && /connect anew/i.test(asProblem(thrown).detail);
      if (!old || left <= 1) throw thrown;
      await new Promise((done) => setTimeout(done, pauseMs));
    }
  }
}

/** Where the link to a new address leads: keeps the change of the network. */
export function ConfirmNetwork() {
  const id = window.location.hash.slice(1);
  const confirm = useMutation({ mutationFn: () => confirmNetwork(id) });
  useEffect(() => {
    document.title = `${texts.confirmTitle} · Ringfence`;
  }, []);
  const problem = confirm.error && asProblem(confirm.error);
  return (
    <main className={css.page}>
      <div className={css.box}>
        <Brand />
        <Stack gap="lg" className={css.card}>
          <Title order={1} size="h3">
            {texts.confirmTitle}
          </Title>
          {confirm.isSuccess && (
            <Notice tone="ok" title={texts.kept}>
              {texts.keptText}
            </Notice>
          )}
          {!confirm.isSuccess && <Text>{texts.confirmLead}</Text>}
          {problem?.status === 409 && (
            <Notice tone="warn" title={/connect anew/i.test(problem.detail) ? texts.notYet : texts.tooLate}>
              {/connect anew/i.test(problem.detail) ? texts.notYetText : texts.tooLateText}
            </Notice>
          )}
          {problem && problem.status !== 409 && <ProblemNotice problem={problem} />}
          {!confirm.isSuccess && (
            <Button size="md" fullWidth loading={confirm.isPending} disabled={id === ''} onClick={() => confirm.mutate()}>
              {texts.confirm}
            </Button>
          )}
          <Anchor href="/">{texts.toPortal}</Anchor>
        </Stack>
      </div>
    </main>
  );
}
