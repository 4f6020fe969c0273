import type { Setup } from '../shared/api';

export const steps = ['welcome', 'administrator', 'tenant', 'extensions', 'review'] as const;
export type StepID = (typeof steps)[number];

/** Whether the server holds what the step asks for. */
export function isDone(setup: Setup, step: StepID): boolean {
  return setup.steps.some((s) => s.id === step && s.done);
}

/** Whether everything that set-up needs is there. */
export function isComplete(setup: Setup): boolean {
  return setup.steps.every((s) => s.done);
}

/** Where a wizard that is opened (again) goes on. */
export function resumeAt(setup: Setup): StepID {
  if (setup.steps.every((s) => !s.done)) return 'welcome';
  return steps.find((s) => s !== 'welcome' && s !== 'review' && !isDone(setup, s)) ?? 'review';
}

export function after(step: StepID): StepID {
  return steps[Math.min(steps.indexOf(step) + 1, steps.length - 1)]!;
}

export function before(step: StepID): StepID {
  return steps[Math.max(steps.indexOf(step) - 1, 0)]!;
}
