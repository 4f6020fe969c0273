export const login = {
  title: 'Sign in',
  name: 'User name',
  password: 'Password',
  submit: 'Sign in',
  nameMissing: 'Enter your user name',
  passwordMissing: 'Enter your password',
  wrong: 'Name or password is wrong',
  wrongHint: 'Check both; capital letters count. After several wrong tries this address is blocked for a while.',
  blocked: 'Too many wrong tries',
  blockedHint: (wait: string) => `Sign-in from this address is closed${wait === '' ? '' : ` for ${wait}`}. Calls go on.`,
  signedOut: 'You were signed out. Sign in to go on where you were.',
} as const;
