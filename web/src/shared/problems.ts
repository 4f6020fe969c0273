import type { components } from './schema';
import { problemTexts, reasonTexts } from '../texts/problems';

type ErrorModel = components['schemas']['ErrorModel'];

/** A request that failed: title and remedy for people, and per-field reasons. */
export class Problem extends Error {
  readonly status: number;
  readonly title: string;
  readonly remedy: string;
  /** What the server said about the whole request, or empty. */
  readonly detail: string;
  /** Reasons by field name, dotted below lists: extensions.0.number. */
  readonly fields: Readonly<Record<string, string>>;
  /** Every reason as the server says it, several of a field too. */
  readonly reasons: readonly { field: string; text: string }[];
  /** When to try again, in seconds; 0 when the server did not say. */
  readonly retryAfter: number;

  constructor(status: number, model?: ErrorModel, retryAfter = 0) {
    const text = problemTexts[status] ?? problemTexts[status >= 500 ? 500 : 400]!;
    super(text.title);
    this.name = 'Problem';
    this.status = status;
    this.title = text.title;
    this.remedy = text.remedy;
    this.detail = sentence(model?.detail ?? '');
    this.fields = fieldsOf(model);
    this.reasons = (model?.errors ?? []).map(({ location = '', message = '' }) => ({ field: fieldOf(location), text: message }));
    this.retryAfter = retryAfter;
  }
}

/** Reads a problem document (RFC 9457) out of an answer. */
export function problemOf(response: Response, body: unknown): Problem {
  const model = typeof body === 'object' && body !== null ? (body as ErrorModel) : undefined;
  const retryAfter = Number(response.headers.get('Retry-After')) || 0;
  return new Problem(response.status, model, retryAfter);
}

/** Any thrown value as a Problem, so that pages handle one kind. */
export function asProblem(thrown: unknown): Problem {
  return thrown instanceof Problem ? thrown : new Problem(0);
}

const fieldOf = (location: string) => location.replace(/^(body|path|query|header)\.?/, '').replace(/\[(\d+)\]/g, '.$1');

function fieldsOf(model: ErrorModel | undefined): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const { location = '', message = '' } of model?.errors ?? []) {
    let field = fieldOf(location);
    // The validation library puts a missing property at the place of its object.
    const missing = /^expected required property (\S+) to be present$/.exec(message);
    if (missing) field = field === '' ? missing[1]! : `${field}.${missing[1]}`;
    if (!(field in fields)) fields[field] = reason(message);
  }
  return fields;
}

function reason(message: string): string {
  for (const [pattern, text] of reasonTexts) {
    const found = pattern.exec(message);
    if (found) return text(...found.slice(1));
  }
  return sentence(message);
}

function sentence(text: string): string {
  return text === '' ? '' : text[0]!.toUpperCase() + text.slice(1);
}
