import type { RuleID } from '../shared/password';

const rules: Record<Exclude<RuleID, 'length'>, string> = {
  letter: 'A Latin letter (a–z)',
  digit: 'A digit',
  upper: 'A capital letter or a special character',
  sequence: 'No sequence such as 1234, 7890 or abcd',
  repeat: 'No three equal characters in a row',
  account: 'None of your names, e-mail or domain',
};

export const passwordTexts = {
  rulesTitle: 'Password rules',
  length: (min: number, max: number) => `${min} to ${max} characters`,
  rules,
  kept: ' (kept)',
  broken: ' (not kept yet)',
} as const;
