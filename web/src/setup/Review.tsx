import { Button } from '@mantine/core';
import { IconRocket } from '@tabler/icons-react';
import { useIsFetching, useMutation, useQueryClient } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { client, take, type SIPCredentials } from '../shared/api';
import { asProblem } from '../shared/problems';
import { sessionQuery } from '../shared/queries';
import { Notice, ProblemNotice } from '../shared/ui/Notice';
import { setup as texts } from '../texts/setup';
import { Buttons } from './Buttons';
import { isComplete, type StepID } from './steps';
import { forgetToken } from './token';
import type { StepProps } from './Wizard';
import css from './Wizard.module.css';

interface Props extends StepProps {
  accounts: readonly SIPCredentials[];
  onStep: (s: StepID) => void;
  onFinished: () => void;
}

export function Review({ setup, accounts, onBack, onStep, onFinished }: Props) {
  const queries = useQueryClient();
  const complete = isComplete(setup);
  // The step before may still be on its way back from the server.
  const settling = useIsFetching() > 0 && !complete;
  const { suggestion: s } = setup;
  const finish = useMutation({
    mutationFn: () => take(client.POST('/api/v1/setup/finish')),
    onSuccess: async () => {
      forgetToken();
      // The answer signed the administrator in; a failure here shows the log-in page later.
      await queries.fetchQuery(sessionQuery).catch(() => undefined);
      onFinished();
    },
  });
  return (
    <>
      <h1>{texts.reviewTitle}</h1>
      <p className={css.lead}>{texts.reviewText}</p>
      <div className={css.review}>
        <Row label={texts.steps.administrator} value={s.administrator} onEdit={() => onStep('administrator')} />
        <Row label={texts.organisation} value={s.tenant_name} onEdit={() => onStep('tenant')} />
        <Row label={texts.domain} value={s.domain} onEdit={() => onStep('tenant')} />
        <Row label={texts.range} value={`${s.extension_first} – ${s.extension_last}`} onEdit={() => onStep('tenant')} />
        <Row
          label={texts.steps.extensions}
          value={accounts.length > 0 ? texts.created(accounts.length) : texts.createdBefore}
          onEdit={() => onStep('extensions')}
        />
      </div>
      {!complete && !settling && (
        <Notice tone="warn" title={texts.incomplete}>
          {texts.incompleteText}
        </Notice>
      )}
      {finish.error && <ProblemNotice problem={asProblem(finish.error)} />}
      <Buttons
        onBack={onBack}
        next={
          <Button size="md" disabled={!complete} loading={finish.isPending || settling} leftSection={<IconRocket size={18} />} onClick={() => finish.mutate()} data-testid="finish">
            {texts.finish}
          </Button>
        }
      />
    </>
  );
}

function Row({ label, value, onEdit }: { label: string; value: ReactNode; onEdit: () => void }) {
  return (
    <div className={css.reviewRow}>
      <span className="dimmed">{label}</span>
      <span>{value}</span>
      <Button variant="subtle" size="compact-sm" aria-label={`${texts.edit}: ${label}`} onClick={onEdit}>
        {texts.edit}
      </Button>
    </div>
  );
}
