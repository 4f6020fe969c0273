import { ago, clock, dateTime, shortTime } from '../format';
import { useNow } from '../time';

/** The time since `from`, counting. */
export function Elapsed({ from }: { from: string }) {
  const now = useNow();
  return <span className="tabular">{clock((now.getTime() - Date.parse(from)) / 1000)}</span>;
}

/** How long ago, with the exact time on hover. */
export function Ago({ at }: { at: string }) {
  const now = useNow(10_000);
  const when = new Date(at);
  return (
    <time dateTime={at} title={dateTime(when)} className="nowrap">
      {ago(when, now)}
    </time>
  );
}

/** A point in time, short, with the exact time on hover. */
export function When({ at }: { at: string }) {
  const now = useNow(60_000);
  const when = new Date(at);
  return (
    <time dateTime={at} title={dateTime(when)} className="nowrap">
      {shortTime(when, now)}
    </time>
  );
}
