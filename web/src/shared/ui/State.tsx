import css from './parts.module.css';

export type Tone = 'ok' | 'warn' | 'bad' | 'live' | 'idle';

/** A state as dot plus word: never colour alone. */
export function State({ tone, pulse = false, children }: { tone: Tone; pulse?: boolean; children: string }) {
  return (
    <span className={css.state} data-tone={tone}>
      <span className={`${css.dot} ${pulse ? css.pulse : ''}`} aria-hidden />
      {children}
    </span>
  );
}
