import { Anchor, Button, Stack, Text, Title } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { useEffect } from 'react';
import { asProblem } from '../../shared/problems';
import { Brand } from '../../shared/ui/Brand';
import { Notice, ProblemNotice } from '../../shared/ui/Notice';
import { network } from '../../texts/network';
import { trial } from '../../texts/trial';
import { confirmChange, isOldPath, type Changed } from '../confirm';
import css from './Login.module.css';

/** Where the link to a new address leads: keeps the change of the network. */
export const ConfirmNetwork = () => <ConfirmChange what="network" texts={network} />;

/** Where the portal leads when its port moved: keeps the change of settings. */
export const ConfirmSettings = () => <ConfirmChange what="settings" texts={trial} />;

interface Texts {
  confirmTitle: string;
  confirmLead: string;
  confirm: string;
  kept: string;
  keptText: string;
  notYet: string;
  notYetText: string;
  tooLate: string;
  tooLateText: string;
  toPortal: string;
}

function ConfirmChange({ what, texts }: { what: Changed; texts: Texts }) {
  const id = window.location.hash.slice(1);
  const confirm = useMutation({ mutationFn: () => confirmChange(what, id) });
  useEffect(() => {
    document.title = `${texts.confirmTitle} · Ringfence`;
  }, [texts]);
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
            <Notice tone="warn" title={isOldPath(confirm.error) ? texts.notYet : texts.tooLate}>
              {isOldPath(confirm.error) ? texts.notYetText : texts.tooLateText}
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
