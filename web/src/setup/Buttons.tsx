import { Button } from '@mantine/core';
import { IconArrowRight } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import { common } from '../texts/common';
import css from './Wizard.module.css';

/** Back and on; `next` is the submit button of the step's form unless it does something of its own. */
export function Buttons(props: { onBack: () => void; next?: ReactNode; pending?: boolean; label?: string; onNext?: () => void }) {
  return (
    <div className={css.buttons}>
      <Button variant="default" size="md" onClick={props.onBack}>
        {common.back}
      </Button>
      {props.next ?? (
        <Button
          type={props.onNext ? 'button' : 'submit'}
          size="md"
          loading={props.pending}
          rightSection={<IconArrowRight size={18} />}
          onClick={props.onNext}
          data-testid="next"
        >
          {props.label ?? common.next}
        </Button>
      )}
    </div>
  );
}
