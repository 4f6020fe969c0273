// @vitest-environment jsdom
import { QueryClient } from '@tanstack/react-query';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Live } from './live';

/** A stream whose life the test decides. */
class Stream extends EventTarget {
  static readonly CLOSED = 2;
  static all: Stream[] = [];
  readyState = 0;
  onopen: (() => void) | null = null;
  onerror: (() => void) | null = null;
  constructor(readonly url: string) {
    super();
    Stream.all.push(this);
  }
  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }
  fail(state: number): void {
    this.readyState = state;
    this.onerror?.();
  }
  say(event: string, data: unknown): void {
    this.dispatchEvent(new MessageEvent(event, { data: JSON.stringify(data) }));
  }
  close(): void {
    this.readyState = Stream.CLOSED;
  }
}

let queries: QueryClient;
let live: Live;
let asked: string[];
const latest = () => Stream.all.at(-1)!;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('EventSource', Stream);
  Stream.all = [];
  asked = [];
  queries = new QueryClient();
  vi.spyOn(queries, 'invalidateQueries').mockImplementation(async (filters) => {
    asked.push(filters!.queryKey!.join('/'));
  });
  live = new Live(queries);
  live.open();
});

afterEach(() => {
  live.close();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function opened(): void {
  latest().open();
  vi.advanceTimersByTime(1000);
  asked = [];
}

it('asks at intervals until the stream is there, then no more', () => {
  vi.advanceTimersByTime(5000);
  expect(asked).toContain('calls');
  expect(live.state()).toBe('polling');
  opened();
  expect(live.state()).toBe('live');
  vi.advanceTimersByTime(60_000);
  expect(asked).toEqual([]);
});

it('catches up with what happened while the stream was away', () => {
  latest().open();
  vi.advanceTimersByTime(1000);
  expect(asked).toEqual(expect.arrayContaining(['status', 'registrations', 'extensions', 'calls', 'cdrs']));
});

it('makes only the lists of an event stale, and a burst of events once', () => {
  opened();
  for (let i = 0; i < 50; i++) latest().say('registration', {});
  vi.advanceTimersByTime(1000);
  expect(asked.sort()).toEqual(['extensions', 'registrations']);
});

it('takes the status from the event itself', () => {
  opened();
  latest().say('status', { version: '1' });
  expect(queries.getQueryData(['status'])).toEqual({ version: '1' });
  vi.advanceTimersByTime(1000);
  expect(asked).toEqual([]);
});

it('polls while the browser reconnects by itself', () => {
  opened();
  latest().fail(0);
  expect(live.state()).toBe('polling');
  vi.advanceTimersByTime(5000);
  expect(asked).toContain('calls');
  expect(Stream.all).toHaveLength(1);
});

it('reopens a stream the browser gave up, ever more slowly', () => {
  opened();
  latest().fail(Stream.CLOSED);
  vi.advanceTimersByTime(1000);
  expect(Stream.all).toHaveLength(2);
  latest().fail(Stream.CLOSED);
  vi.advanceTimersByTime(1500);
  expect(Stream.all).toHaveLength(2);
  vi.advanceTimersByTime(600);
  expect(Stream.all).toHaveLength(3);
  opened();
  expect(live.state()).toBe('live');
});

it('leaves a page that is just being fetched alone, then asks', () => {
  opened();
  let fetching = 1;
  vi.spyOn(queries, 'isFetching').mockImplementation(() => fetching);
  latest().say('cdr', {});
  vi.advanceTimersByTime(3000);
  expect(asked).toEqual([]);
  fetching = 0;
  vi.advanceTimersByTime(1000);
  expect(asked.sort()).toEqual(['calls', 'cdrs']);
});

it('is silent after close', () => {
  opened();
  const stream = latest();
  live.close();
  stream.fail(Stream.CLOSED);
  vi.advanceTimersByTime(60_000);
  expect(asked).toEqual([]);
  expect(Stream.all).toHaveLength(1);
});
