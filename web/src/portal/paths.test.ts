import { expect, it } from 'vitest';
import { localPath } from './paths';

it.each(['/', '/cdrs?extension=101', '/extensions'])('goes on to %s', (path) => expect(localPath(path)).toBe(path));

it.each(['//evil.example', '/\\evil.example', 'https://evil.example', 'javascript:alert(1)', 'evil', '', '/login?next=/', undefined])(
  'does not go on to %s',
  (path) => expect(localPath(path)).toBeUndefined(),
);
