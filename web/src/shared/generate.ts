import { acceptable } from './password';

// Without letters and digits that look alike.
const alphabet = 'abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789-_!?';

/** A random password that keeps every rule; 16 characters are about 94 bits. */
export function suggestPassword(account: readonly string[], length = 16): string {
  for (;;) {
    let password = '';
    while (password.length < length) {
      const [byte] = crypto.getRandomValues(new Uint8Array(1));
      // Bytes beyond the last whole multiple would favour the first letters.
      if (byte! < Math.floor(256 / alphabet.length) * alphabet.length) password += alphabet[byte! % alphabet.length];
    }
    if (acceptable(password, account)) return password;
  }
}
