/** What went wrong and what to do about it, by HTTP status. */
export const problemTexts: Record<number, { title: string; remedy: string }> = {
  0: {
    title: 'The server does not answer',
    remedy: 'Check that this computer reaches the box. What you see is the last known state; nothing was changed.',
  },
  400: { title: 'The request was not understood', remedy: 'Reload the page; the portal may have been updated meanwhile.' },
  401: { title: 'You are signed out', remedy: 'Sign in again.' },
  403: { title: 'You may not do this', remedy: 'Ask an administrator, or sign in as one. After a long pause, reload the page.' },
  404: { title: 'It no longer exists', remedy: 'Somebody may have removed it meanwhile. Reload the list.' },
  409: { title: 'It clashes with what exists', remedy: 'Reload the list and choose another value.' },
  422: { title: 'Some entries cannot be used', remedy: 'Correct the marked fields.' },
  429: { title: 'Too many tries', remedy: 'Wait a while and try again.' },
  500: { title: 'The server failed', remedy: 'Nothing was saved. Try again; if it happens again, look at the log.' },
  503: { title: 'The server is busy or starting', remedy: 'Try again in a few seconds.' },
};

/** Reasons in the validation library's words, in ours. */
export const reasonTexts: readonly [pattern: RegExp, text: (...found: string[]) => string][] = [
  [/^expected length >= 1$/, () => 'Must not be empty'],
  [/^expected length >= (\d+)$/, (n) => `Needs at least ${n} characters`],
  [/^expected length <= (\d+)$/, (n) => `May have at most ${n} characters`],
  [/^expected number >= (\S+)$/, (n) => `Must be ${n} or more`],
  [/^expected number <= (\S+)$/, (n) => `Must be ${n} or less`],
  [/^expected array length >= (\d+)$/, (n) => `Needs at least ${n} entries`],
  [/^expected array length <= (\d+)$/, (n) => `May have at most ${n} entries`],
  [/^expected string to match pattern \^\[0-9\]\{(\d+),(\d+)\}\$$/, (a, b) => `Must be a number of ${a} to ${b} digits`],
  [/^expected string to match pattern/, () => 'Is not written the expected way'],
  [/^expected string to be RFC 5322 email/, () => 'Must look like name@example.org'],
  [/^expected required property (\S+) to be present$/, () => 'Is missing'],
  [/^expected (string|integer|number|boolean)$/, (type) => `Must be a ${type === 'string' ? 'text' : type}`],
];
