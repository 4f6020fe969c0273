/**
 * The password rules, as the server applies them (it decides; this only shows
 * them while typing). Sequences and repetitions are looked for without regard to case.
 */
export type RuleID = 'letter' | 'digit' | 'upper' | 'sequence' | 'repeat' | 'account' | 'length';

export interface Verdict {
  rule: RuleID;
  ok: boolean;
}

export interface Policy {
  mode: string;
  min: number;
  max: number;
  letter: boolean;
  digit: boolean;
  upper_or_special: boolean;
  no_sequence: boolean;
  no_repeat: boolean;
  no_account: boolean;
}

/** As shipped. */
export const defaultPolicy: Policy = { mode: 'rules', min: 8, max: 32, letter: true, digit: true, upper_or_special: true, no_sequence: true, no_repeat: true, no_account: true };

/** Runs of this many neighbours ("1234", "dcba", "7890") are refused. */
const runLength = 4;
/** Account words shorter than this are not looked for. */
const tokenLength = 3;

/** Judges a password against the rules of a policy; `account` is what is known of its owner. */
export function judge(password: string, account: readonly string[], policy: Policy = defaultPolicy): Verdict[] {
  const length = [...password].length;
  const all: [wanted: boolean, rule: RuleID, ok: boolean][] = [
    [true, 'length', length >= policy.min && length <= policy.max],
    [policy.letter, 'letter', /[A-Za-z]/.test(password)],
    [policy.digit, 'digit', /[0-9]/.test(password)],
    [policy.upper_or_special, 'upper', /[A-Z]/.test(password) || /[!-/:-@[-`{-~ ]/.test(password)],
    [policy.no_sequence, 'sequence', password !== '' && !hasSequence(password)],
    [policy.no_repeat, 'repeat', password !== '' && !hasRepeat(password)],
    [policy.no_account, 'account', password !== '' && !hasAccountWord(password, account)],
  ];
  return all.filter(([wanted]) => wanted).map(([, rule, ok]) => ({ rule, ok }));
}

/** Whether every rule is kept. */
export function acceptable(password: string, account: readonly string[], policy: Policy = defaultPolicy): boolean {
  return judge(password, account, policy).every((v) => v.ok);
}

function hasSequence(password: string): boolean {
  const text = password.toLowerCase();
  return ascends(text) || ascends([...text].reverse().join(''));
}

function ascends(text: string): boolean {
  let run = 1;
  for (let i = 1; i < text.length; i++) {
    run = follows(text[i - 1]!, text[i]!) ? run + 1 : 1;
    if (run >= runLength) return true;
  }
  return false;
}

/** Whether b comes right after a: letters among letters, digits among digits, 0 after 9. */
function follows(a: string, b: string): boolean {
  if (isDigit(a) && isDigit(b)) return (Number(a) + 1) % 10 === Number(b);
  return isLetter(a) && isLetter(b) && a.charCodeAt(0) + 1 === b.charCodeAt(0);
}

const isDigit = (c: string) => c >= '0' && c <= '9';
const isLetter = (c: string) => c >= 'a' && c <= 'z';

function hasRepeat(password: string): boolean {
  const text = [...password.toLowerCase()];
  return text.some((c, i) => i >= 2 && c === text[i - 1] && c === text[i - 2]);
}

function hasAccountWord(password: string, account: readonly string[]): boolean {
  const text = password.toLowerCase();
  return account.flatMap(words).some((word) => [...word].length >= tokenLength && text.includes(word));
}

/**
 * What is looked for of one entry: the whole, each part, the parts run
 * together. Of an e-mail address only what stands before the @ counts, of a
 * domain everything but its last label.
 */
function words(entry: string): string[] {
  let text = entry.trim().toLowerCase();
  const at = text.indexOf('@');
  const dot = text.lastIndexOf('.');
  if (at >= 0 && at < text.length - 1) text = text.slice(0, at);
  else if (dot > 0 && /^[a-z0-9.-]+$/.test(text)) text = text.slice(0, dot);
  const parts = text.split(/[^\p{L}\p{N}\p{M}]+/u).filter(Boolean);
  return [...parts, text, parts.join('')];
}
