import { describe, expect, it } from 'vitest';
import { asProblem, Problem, problemOf } from './problems';

const answer = (status: number, headers: Record<string, string> = {}) => new Response(null, { status, headers });

describe('problems', () => {
  it('brings every reason to its field', () => {
    const p = problemOf(answer(422), {
      type: 'about:blank',
      errors: [
        { location: 'body.password', message: 'needs a digit' },
        { location: 'body.extensions[2].number', message: 'may only hold digits' },
        { location: 'body', message: 'expected required property domain to be present' },
        { location: 'path.number', message: 'expected string to match pattern ^[0-9]{2,10}$' },
      ],
    });
    expect(p.fields).toEqual({
      password: 'Needs a digit',
      'extensions.2.number': 'May only hold digits',
      domain: 'Is missing',
      number: 'Must be a number of 2 to 10 digits',
    });
  });

  it('keeps the first reason of a field', () => {
    const errors = [
      { location: 'body.name', message: 'expected length >= 1' },
      { location: 'body.name', message: 'must not be empty' },
    ];
    expect(problemOf(answer(422), { type: '', errors }).fields).toEqual({ name: 'Must not be empty' });
  });

  it('has cause and remedy for every status', () => {
    for (const status of [0, 400, 401, 403, 404, 409, 418, 422, 429, 500, 502, 503]) {
      const p = new Problem(status);
      expect(p.title).not.toBe('');
      expect(p.remedy).not.toBe('');
    }
  });

  it('reads when to try again', () => {
    expect(problemOf(answer(429, { 'Retry-After': '90' }), undefined).retryAfter).toBe(90);
  });

  it('takes a broken connection for a silent server', () => {
    expect(asProblem(new TypeError('fetch failed')).status).toBe(0);
  });
});
