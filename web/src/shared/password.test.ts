import { describe, expect, it } from 'vitest';
import { acceptable, defaultPolicy, judge, type RuleID } from './password';

const ada = ['ada', 'Ada', 'Lovelace', 'countess@post.example', '101', 'byron.example'];

describe('password rules', () => {
  const cases: [rule: RuleID, breaks: string, keeps: string][] = [
    ['length', 'Tr8!kpw', 'Tr8!kpwz'],
    ['length', 'Tr8!kpwz'.repeat(4) + 'q', 'Tr8!kpwz'.repeat(4)],
    ['letter', '73915!84', '7391e!84'],
    ['letter', 'жук739!84', 'жукx739!84'],
    ['digit', 'Trumpet!', 'Trumpet8'],
    ['upper', 'trumpet8', 'Trumpet8'],
    ['upper', 'trumpet8', 'trumpet-8'],
    ['upper', 'trumpetü8', 'trumpet~8'],
    ['sequence', 'Kq1234zp', 'Kq1235zp'],
    ['sequence', 'Kq7890zp', 'Kq7892zp'],
    ['sequence', 'Kq1098zp', 'Kq1092zp'],
    ['sequence', 'Kq4321zp', 'Kq4331zp'],
    ['sequence', '5xAbcd9!', '5xAbce9!'],
    ['sequence', '5xdCbA9!', '5xdCbB9!'],
    ['repeat', 'Kq222zp8', 'Kq22zp82'],
    ['repeat', 'Kq9Aaazp', 'Kq9Aabzp'],
    ['repeat', 'Kq9###zp', 'Kq9##zp#'],
    ['account', 'x9!LoveLaceQ', 'x9!LoveMaceQ'],
    ['account', 'Kq101zp!', 'Kq107zp!'],
    ['account', 'Adamant8!', 'Amadent8!'],
    ['account', 'xCountess9!', 'xExample9!q'],
    ['account', 'byronKing7!', 'byrxnKing7!'],
  ];
  it.each(cases)('%s refuses %s and accepts %s', (rule, breaks, keeps) => {
    const verdict = (password: string) => judge(password, ada).find((v) => v.rule === rule)?.ok;
    expect(verdict(breaks)).toBe(false);
    expect(verdict(keeps)).toBe(true);
  });

  it('does not mix letters and digits into one sequence', () => {
    expect(acceptable('xY89ab!q', [])).toBe(true);
  });

  it('holds nothing against an unknown owner', () => {
    expect(acceptable('Quiet-Harbour7', ['', ''])).toBe(true);
  });

  it('ignores account words of one or two letters', () => {
    expect(acceptable('Bo!8trumpet', ['Bo', 'Li'])).toBe(true);
  });
});

it('asks for what the policy asks for and nothing else', () => {
  const nist = { ...defaultPolicy, mode: 'nist', min: 15, max: 128, letter: false, digit: false, upper_or_special: false, no_sequence: false, no_repeat: false };
  expect(judge('', [], nist).map((v) => v.rule)).toEqual(['length', 'account']);
  expect(acceptable('wolkig 1234 mmm', [], nist)).toBe(true);
  expect(acceptable('wolkig 1234 mm', [], nist)).toBe(false);
  expect(acceptable('wolkig ada 1234 mmm', ada, nist)).toBe(false);
});
