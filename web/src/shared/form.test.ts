import { expect, it } from 'vitest';
import { placeProblem } from './form';
import { Problem } from './problems';

it('puts reasons to the fields of the form and returns the rest', () => {
  const problem = new Problem(422, {
    type: '',
    errors: [
      { location: 'body.new', message: 'needs a digit' },
      { location: 'body.elsewhere', message: 'is odd' },
    ],
  });
  let errors: Record<string, string> = {};
  const rest = placeProblem({ setErrors: (e) => (errors = e) }, problem, ['current', 'next'], { new: 'next' });
  expect(errors).toEqual({ next: 'Needs a digit' });
  expect(rest).toEqual(['Is odd']);
});
