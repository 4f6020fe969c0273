import { NumberInput, SegmentedControl, Stack, Text, Textarea } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { client, take, type SIPCredentials } from '../shared/api';
import { parseList, rangeSize, stepFrom, type LineFault } from '../shared/numbers';
import { asProblem } from '../shared/problems';
import { Notice, ProblemNotice } from '../shared/ui/Notice';
import { setup as texts } from '../texts/setup';
import { Accounts, KeepButtons } from './Accounts';
import { Buttons } from './Buttons';
import { isDone } from './steps';
import type { StepProps } from './Wizard';
import css from './Wizard.module.css';

/** How many one request may create. */
const limit = 500;

interface Props extends StepProps {
  /** Made in this tab; their passwords are known nowhere else. */
  accounts: readonly SIPCredentials[];
  onAccounts: (all: readonly SIPCredentials[]) => void;
}

export function FirstExtensions({ setup, accounts, onAccounts, onNext, onBack }: Props) {
  const [more, setMore] = useState(false);
  if (accounts.length > 0 && !more) return <Made accounts={accounts} onNext={() => onNext()} onBack={onBack} onMore={() => setMore(true)} />;
  return (
    <Ask
      setup={setup}
      onBack={onBack}
      onNext={onNext}
      onMade={(fresh) => {
        const known = new Set(fresh.map((a) => a.number));
        onAccounts([...accounts.filter((a) => !known.has(a.number)), ...fresh]);
        setMore(false);
      }}
    />
  );
}

function Ask({ setup, onBack, onNext, onMade }: StepProps & { onMade: (fresh: readonly SIPCredentials[]) => void }) {
  const { extension_first: first, extension_last: last, extensions } = setup.suggestion;
  const max = Math.min(limit, rangeSize(first, last));
  const existing = isDone(setup, 'extensions');
  const [way, setWay] = useState<'count' | 'list'>('count');
  const [count, setCount] = useState<number | string>(Math.min(max, extensions || 10));
  const [text, setText] = useState('');
  const parsed = parseList(text, first, last, limit);
  const n = Number(count);
  const ready = way === 'count' ? Number.isInteger(n) && n >= 1 && n <= max : parsed.list.length > 0 && parsed.faults.length === 0;
  const create = useMutation({
    mutationFn: () => take(client.POST('/api/v1/setup/extensions', { body: way === 'count' ? { count: n } : { extensions: parsed.list } })),
    // Those that exist keep their passwords and are not answered again.
    onSuccess: (fresh) => (fresh.length > 0 ? onMade(fresh) : onNext()),
  });
  const problem = create.error && asProblem(create.error);
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        if (ready) create.mutate();
      }}
    >
      <h1>{texts.extTitle}</h1>
      <p className={css.lead}>{texts.extText}</p>
      <Stack gap="md">
        {existing && (
          <Notice tone="info" title={texts.existing}>
            {texts.existingText}
          </Notice>
        )}
        {problem && <ProblemNotice problem={problem} />}
        {problem && Object.entries(problem.fields).map(([field, reason]) => <Notice key={field} tone="bad" title={`${field}: ${reason}`} />)}
        <SegmentedControl
          value={way}
          onChange={(v) => setWay(v as 'count' | 'list')}
          data={[
            { value: 'count', label: texts.byCount },
            { value: 'list', label: texts.byList },
          ]}
        />
        {way === 'count' ? (
          <NumberInput
            label={texts.count}
            min={1}
            max={max}
            allowDecimal={false}
            value={count}
            onChange={setCount}
            description={ready ? texts.countPreview(first, stepFrom(first, n - 1)) : ' '}
          />
        ) : (
          <>
            <Textarea label={texts.list} placeholder={texts.listPlaceholder} autosize minRows={6} maxRows={16} spellCheck={false} value={text} onChange={(e) => setText(e.currentTarget.value)} />
            <Text size="sm" c={parsed.faults.length > 0 ? 'var(--mantine-color-error)' : 'dimmed'} role="status">
              {parsed.faults.length > 0 ? parsed.faults.slice(0, 3).map((f) => faultText(f, first, last)).join(' · ') : parsed.list.length > 0 ? texts.listPreview(parsed.list.length) : ' '}
            </Text>
          </>
        )}
      </Stack>
      {existing && text === '' && way === 'list' ? (
        <Buttons onBack={onBack} onNext={() => onNext(setup)} />
      ) : (
        <Buttons onBack={onBack} pending={create.isPending} label={texts.create} />
      )}
    </form>
  );
}

function faultText(f: LineFault, first: string, last: string): string {
  const reasons: Record<LineFault['kind'], string> = {
    number: texts.lineNoNumber,
    outside: texts.lineOutside(first, last),
    twice: texts.lineTwice(f.number),
    many: texts.lineTooMany(limit),
  };
  return texts.listLine(f.line, reasons[f.kind]);
}

function Made(props: { accounts: readonly SIPCredentials[]; onNext: () => void; onBack: () => void; onMore: () => void }) {
  return (
    <>
      <h1>{texts.extTitle}</h1>
      <p className={css.lead}>{texts.madeText(props.accounts.length)}</p>
      <Notice tone="ok" title={texts.onceTitle}>
        {texts.onceText}
      </Notice>
      <Accounts accounts={props.accounts} />
      <KeepButtons accounts={props.accounts} onKept={() => {}} onMore={props.onMore} />
      <Buttons onBack={props.onBack} onNext={props.onNext} />
    </>
  );
}
