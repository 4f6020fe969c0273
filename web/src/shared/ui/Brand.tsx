import { common } from '../../texts/common';
import css from './Brand.module.css';

/** The mark: a bell inside a fence with one gate. */
export function Mark({ size = 28 }: { size?: number }) {
  return (
    <svg viewBox="0 0 32 32" width={size} height={size} aria-hidden className={css.mark}>
      <rect width="32" height="32" rx="8" />
      <circle cx="16" cy="16" r="3.25" />
      <path d="M9.1 22.9a9.75 9.75 0 1 1 13.8 0" />
    </svg>
  );
}

export function Brand({ size = 28 }: { size?: number }) {
  return (
    <span className={css.brand}>
      <Mark size={size} />
      <span>{common.product}</span>
    </span>
  );
}
