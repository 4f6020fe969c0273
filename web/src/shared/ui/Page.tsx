import { useEffect, type ReactNode } from 'react';
import css from './parts.module.css';

interface PageProps {
  title: string;
  lead?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
}

/** A page below the shell: heading, one sentence of purpose, actions, content. */
export function Page({ title, lead, actions, children }: PageProps) {
  useEffect(() => {
    document.title = `${title} · Ringfence`;
  }, [title]);
  return (
    <div className={css.page}>
      <div className={css.head}>
        <div>
          <h1>{title}</h1>
          {lead !== undefined && <p className={css.lead}>{lead}</p>}
        </div>
        {actions}
      </div>
      {children}
    </div>
  );
}

interface PanelProps {
  title?: string;
  action?: ReactNode;
  /** Without inner margin, for tables. */
  flush?: boolean;
  className?: string;
  children: ReactNode;
}

/** A quiet card. */
export function Panel({ title, action, flush = false, className = '', children }: PanelProps) {
  return (
    <section className={`${css.panel} ${className}`} aria-label={title}>
      {title !== undefined && (
        <div className={css.panelHead}>
          <h2>{title}</h2>
          {action}
        </div>
      )}
      <div className={`${css.panelBody} ${flush ? css.flush : ''}`}>{children}</div>
    </section>
  );
}
