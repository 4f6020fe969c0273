import { IconAlertTriangle, IconCircleCheck, IconCircleX, IconInfoCircle } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import type { Problem } from '../problems';
import css from './parts.module.css';

const icons = { info: IconInfoCircle, ok: IconCircleCheck, warn: IconAlertTriangle, bad: IconCircleX };

interface NoticeProps {
  tone: keyof typeof icons;
  title: string;
  children?: ReactNode;
}

/** Something the reader should know, in place. */
export function Notice({ tone, title, children }: NoticeProps) {
  const Icon = icons[tone];
  return (
    <div className={css.notice} data-tone={tone} role={tone === 'bad' ? 'alert' : 'status'}>
      <Icon size={20} stroke={1.75} aria-hidden />
      <div className={css.noticeBody}>
        <strong>{title}</strong>
        {children !== undefined && <div>{children}</div>}
      </div>
    </div>
  );
}

/** A failed request: what happened, what the server said, what to do. */
export function ProblemNotice({ problem }: { problem: Problem }) {
  const said = problem.detail === '' || problem.detail === problem.title ? '' : `${problem.detail.replace(/\.$/, '')}. `;
  // Reasons of fields the form does not show stand here, or nobody would see them.
  return (
    <Notice tone="bad" title={problem.title}>
      {said}
      {problem.remedy}
    </Notice>
  );
}
