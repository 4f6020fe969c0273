import type { Problem } from './problems';

interface Form {
  setErrors: (errors: Record<string, string>) => void;
}

/**
 * Puts a refused request's reasons to their fields. What remains has no field
 * in this form; it is returned to be shown above it.
 */
export function placeProblem(form: Form, problem: Problem, fields: readonly string[], rename: Record<string, string> = {}): string[] {
  const placed: Record<string, string> = {};
  const rest: string[] = [];
  for (const [server, reason] of Object.entries(problem.fields)) {
    const field = rename[server] ?? server;
    if (fields.includes(field)) placed[field] = reason;
    else rest.push(reason);
  }
  form.setErrors(placed);
  return rest;
}
