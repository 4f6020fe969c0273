import { client, take } from '../shared/api';
import { asProblem } from '../shared/problems';

const tries = 4;
const pauseMs = 1500;

export type Changed = 'network' | 'settings';

/** Says whether a refusal means: not by this connection. */
export function isOldPath(thrown: unknown): boolean {
  const problem = asProblem(thrown);
  return problem.status === 409 && /connect anew/i.test(problem.detail);
}

/** Keeps a change, and again by another connection if the server says that this one is an old one. */
export async function confirmChange(what: Changed, id: string): Promise<void> {
  const body = { id };
  for (let left = tries; ; left--) {
    try {
      await take(what === 'network' ? client.POST('/api/v1/network/confirm', { body }) : client.POST('/api/v1/settings/trial/confirm', { body }));
      return;
    } catch (thrown) {
      if (!isOldPath(thrown) || left <= 1) throw thrown;
      await new Promise((done) => setTimeout(done, pauseMs));
    }
  }
}
