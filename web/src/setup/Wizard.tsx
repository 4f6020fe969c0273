import { Center, Loader } from '@mantine/core';
import { IconCheck } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { client, holdSetupToken, take, type Setup, type SIPCredentials } from '../shared/api';
import { asProblem } from '../shared/problems';
import { Brand } from '../shared/ui/Brand';
import { ProblemNotice } from '../shared/ui/Notice';
import { common } from '../texts/common';
import { setup as texts } from '../texts/setup';
import { Administrator } from './Administrator';
import { Domain } from './Domain';
import { FirstExtensions } from './FirstExtensions';
import { BadToken, NoToken } from './NoToken';
import { Ready } from './Ready';
import { Review } from './Review';
import { after, before, isDone, resumeAt, steps, type StepID } from './steps';
import { rememberToken, takeToken } from './token';
import { Welcome } from './Welcome';
import css from './Wizard.module.css';

const setupKey = ['setup'];

/** The first-boot wizard: every step is one request, so it can be left and resumed. */
export function Wizard() {
  const [token, setToken] = useState(takeToken);
  useEffect(() => {
    document.title = `${texts.title} · Ringfence`;
  }, []);
  // The address may be pasted into a tab that shows this page already.
  useEffect(() => {
    const changed = () => setToken(takeToken());
    window.addEventListener('hashchange', changed);
    return () => window.removeEventListener('hashchange', changed);
  }, []);
  if (token === '') {
    const use = (t: string) => {
      rememberToken(t);
      setToken(t);
    };
    return (
      <Frame>
        <NoToken onToken={use} />
      </Frame>
    );
  }
  return <WithToken key={token} token={token} />;
}

function WithToken({ token }: { token: string }) {
  holdSetupToken(token);
  const [accounts, setAccounts] = useState<readonly SIPCredentials[]>([]);
  const [finished, setFinished] = useState(false);
  const query = useQuery({
    queryKey: setupKey,
    queryFn: () => take(client.GET('/api/v1/setup')),
    enabled: !finished,
    staleTime: Infinity,
    refetchOnWindowFocus: false,
  });
  if (finished) {
    return (
      <Frame wide>
        <Ready accounts={accounts} />
      </Frame>
    );
  }
  if (query.error) {
    return <Frame>{asProblem(query.error).status === 404 ? <BadToken /> : <ProblemNotice problem={asProblem(query.error)} />}</Frame>;
  }
  if (query.data === undefined) {
    return (
      <Center mih="60vh">
        <Loader type="dots" role="status" aria-label={common.loading} />
      </Center>
    );
  }
  return <Steps setup={query.data} accounts={accounts} onAccounts={setAccounts} onFinished={() => setFinished(true)} />;
}

export interface StepProps {
  setup: Setup;
  /** Goes on, with the server's newest state where the step's answer held it. */
  onNext: (fresh?: Setup) => void;
  onBack: () => void;
}

interface StepsProps {
  setup: Setup;
  accounts: readonly SIPCredentials[];
  onAccounts: (all: readonly SIPCredentials[]) => void;
  onFinished: () => void;
}

function Steps({ setup, accounts, onAccounts, onFinished }: StepsProps) {
  const queries = useQueryClient();
  const [step, setStep] = useState<StepID>(() => resumeAt(setup));
  useEffect(() => {
    window.scrollTo(0, 0);
  }, [step]);
  const props: StepProps = {
    setup,
    onNext: (fresh) => {
      if (fresh) queries.setQueryData(setupKey, fresh);
      else void queries.invalidateQueries({ queryKey: setupKey });
      setStep(after(step));
    },
    onBack: () => setStep(before(step)),
  };
  return (
    <Frame rail={<Rail setup={setup} current={step} onStep={setStep} />}>
      {step === 'welcome' && <Welcome {...props} />}
      {step === 'administrator' && <Administrator {...props} />}
      {step === 'tenant' && <Domain {...props} />}
      {step === 'extensions' && <FirstExtensions {...props} accounts={accounts} onAccounts={onAccounts} />}
      {step === 'review' && <Review {...props} accounts={accounts} onStep={setStep} onFinished={onFinished} />}
    </Frame>
  );
}

function Rail({ setup, current, onStep }: { setup: Setup; current: StepID; onStep: (s: StepID) => void }) {
  const at = steps.indexOf(current);
  return (
    <nav className={css.rail} aria-label={texts.title}>
      <p className={css.progress}>{texts.stepOf(at + 1, steps.length)}</p>
      <ol>
        {steps.map((s, i) => {
          const done = isDone(setup, s) || (s === 'welcome' && at > 0);
          const reachable = i <= at || steps.slice(1, i).every((x) => isDone(setup, x));
          return (
            <li key={s} data-current={s === current || undefined} data-done={done || undefined}>
              <button type="button" disabled={!reachable} aria-current={s === current ? 'step' : undefined} onClick={() => onStep(s)}>
                <span className={css.bullet} aria-hidden>
                  {done ? <IconCheck size={14} stroke={2.6} /> : i + 1}
                </span>
                {texts.steps[s]}
                {done && <span className="visually-hidden"> ({texts.done})</span>}
              </button>
            </li>
          );
        })}
      </ol>
    </nav>
  );
}

function Frame({ rail, wide = false, children }: { rail?: React.ReactNode; wide?: boolean; children: React.ReactNode }) {
  return (
    <div className={css.page}>
      <div className={`${css.top} no-print`}>
        <Brand size={30} />
      </div>
      <div className={css.body} data-wide={wide || undefined} data-rail={rail !== undefined || undefined}>
        {rail}
        <main className={css.card}>{children}</main>
      </div>
    </div>
  );
}
