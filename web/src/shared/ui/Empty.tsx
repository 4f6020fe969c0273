import type { ReactNode } from 'react';
import css from './parts.module.css';

interface EmptyProps {
  icon: ReactNode;
  title: string;
  /** What to do next. */
  children: ReactNode;
  action?: ReactNode;
}

/** What a list shows instead of nothing. */
export function Empty({ icon, title, children, action }: EmptyProps) {
  return (
    <div className={css.empty}>
      <div className={css.emptyIcon} aria-hidden>
        {icon}
      </div>
      <div className={css.emptyTitle}>{title}</div>
      <div className={css.emptyText}>{children}</div>
      {action !== undefined && <div className={css.emptyAction}>{action}</div>}
    </div>
  );
}
