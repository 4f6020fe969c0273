import { useEffect, useState } from 'react';

// How far the server's clock is ahead of this computer's, in milliseconds.
// Durations of calls are measured on the server's clock, so a wrong clock here
// must not show.
let ahead = 0;

/** Learns the server's clock from an answer's Date header (one-second steps). */
export function noteServerTime(date: string | null): void {
  const server = date === null ? NaN : Date.parse(date);
  if (Number.isNaN(server)) return;
  const difference = server + 500 - Date.now();
  // Within the header's resolution and a slow answer, the clocks agree.
  ahead = Math.abs(difference) < 1500 ? 0 : difference;
}

/** The server's idea of now. */
export function serverNow(): Date {
  return new Date(Date.now() + ahead);
}

/** The server's now, again every `everyMs`. */
export function useNow(everyMs = 1000): Date {
  const [now, setNow] = useState(serverNow);
  useEffect(() => {
    const timer = setInterval(() => setNow(serverNow()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
