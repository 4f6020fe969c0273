import { Button } from '@mantine/core';
import { IconArrowRight } from '@tabler/icons-react';
import { fingerprint } from '../shared/format';
import { setup as texts } from '../texts/setup';
import type { StepProps } from './Wizard';
import css from './Wizard.module.css';

export function Welcome({ setup, onNext }: StepProps) {
  return (
    <>
      <h1>{texts.welcomeTitle}</h1>
      <p className={css.lead}>{texts.welcomeText}</p>
      <div className={css.block}>
        <h2>{texts.fingerprintTitle}</h2>
        <p>{texts.fingerprintText}</p>
        <div className={css.fingerprint} role="group" aria-label={texts.fingerprint} data-testid="fingerprint">
          {fingerprint(setup.fingerprint).map((group, i) => (
            <span key={i}>{group}</span>
          ))}
        </div>
        <p className={css.below}>{texts.fingerprintWarning}</p>
      </div>
      <div className={css.buttons}>
        <Button size="md" rightSection={<IconArrowRight size={18} />} onClick={() => onNext(setup)} data-testid="next">
          {texts.matches}
        </Button>
      </div>
    </>
  );
}
