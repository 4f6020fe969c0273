import type { QueryClient } from '@tanstack/react-query';
import { useSyncExternalStore } from 'react';
import { heldTenant } from './api';
import type { components } from './schema';
import { pollMs } from './queries';

type Status = components['schemas']['Status'];

/** live: the server tells us what happens; polling: we ask at intervals. */
export type LiveState = 'live' | 'polling';

/** Which lists an event makes stale. */
const touches: Record<string, readonly (readonly string[])[]> = {
  registration: [['registrations'], ['extensions']],
  call: [['calls']],
  cdr: [['cdrs'], ['calls']],
  attack: [['attacks'], ['bans'], ['attack-summary']],
};

const pollKeys = [['status'], ['registrations'], ['extensions'], ['calls'], ['cdrs']];

/** A burst of events asks again at most this often per list. */
const throttleMs = 400;
const reopenMs = [1000, 2000, 5000, 10_000, 30_000];

/**
 * Keeps the lists current: listens to the server's events, and asks at
 * intervals while there are none. Owned by the signed-in shell; close ends it.
 */
export class Live {
  #queries: QueryClient;
  #source: EventSource | null = null;
  #state: LiveState = 'polling';
  #listeners = new Set<() => void>();
  #pending = new Map<string, ReturnType<typeof setTimeout>>();
  #poll: ReturnType<typeof setInterval> | null = null;
  #reopen: ReturnType<typeof setTimeout> | null = null;
  #failures = 0;
  #closed = false;
  #url: string;

  constructor(queries: QueryClient, url = '/api/v1/events') {
    this.#queries = queries;
    this.#url = url;
  }

  open(): void {
    this.#closed = false;
    this.#startPolling();
    this.#connect();
  }

  close(): void {
    this.#closed = true;
    this.#source?.close();
    this.#source = null;
    this.#stopPolling();
    if (this.#reopen !== null) clearTimeout(this.#reopen);
    for (const timer of this.#pending.values()) clearTimeout(timer);
    this.#pending.clear();
  }

  state = (): LiveState => this.#state;

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  #connect(): void {
    if (this.#closed) return;
    const tenant = heldTenant();
    const source = new EventSource(tenant === '' ? this.#url : `${this.#url}?tenant=${tenant}`);
    this.#source = source;
    source.onopen = () => this.#opened();
    // The browser reopens dropped streams by itself, but gives up on an
    // answer that is no stream; both count as away until onopen.
    source.onerror = () => this.#lost(source);
    for (const [event, keys] of Object.entries(touches)) {
      source.addEventListener(event, () => keys.forEach((key) => this.#stale(key)));
    }
    source.addEventListener('status', (message: MessageEvent<string>) => {
      this.#queries.setQueryData(['status'], JSON.parse(message.data) as Status);
    });
  }

  #opened(): void {
    const wasAway = this.#state !== 'live';
    this.#failures = 0;
    this.#stopPolling();
    this.#set('live');
    // What happened while nobody listened.
    if (wasAway) pollKeys.forEach((key) => this.#stale(key));
  }

  #lost(source: EventSource): void {
    if (this.#closed) return;
    this.#set('polling');
    this.#startPolling();
    if (source.readyState !== EventSource.CLOSED) return;
    source.close();
    const wait = reopenMs[Math.min(this.#failures++, reopenMs.length - 1)]!;
    this.#reopen = setTimeout(() => this.#connect(), wait);
  }

  #stale(key: readonly string[]): void {
    const name = key.join('/');
    if (this.#pending.has(name)) return;
    this.#pending.set(
      name,
      setTimeout(() => {
        this.#pending.delete(name);
        // Asking again would drop the older page that is just being fetched.
        if (this.#pagesOn(key)) return this.#stale(key);
        void this.#queries.invalidateQueries({ queryKey: key });
      }, throttleMs),
    );
  }

  #pagesOn(key: readonly string[]): boolean {
    return this.#queries.isFetching({ queryKey: key, predicate: (q) => q.state.fetchMeta?.fetchMore !== undefined }) > 0;
  }

  #startPolling(): void {
    this.#poll ??= setInterval(() => {
      if (!document.hidden) pollKeys.forEach((key) => this.#stale(key));
    }, pollMs);
  }

  #stopPolling(): void {
    if (this.#poll !== null) clearInterval(this.#poll);
    this.#poll = null;
  }

  #set(state: LiveState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#listeners.forEach((listener) => listener());
  }
}

export function useLiveState(live: Live): LiveState {
  return useSyncExternalStore(live.subscribe, live.state);
}
