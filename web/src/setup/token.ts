const key = 'ringfence-setup-token';

/**
 * The one-time token: taken out of the address (#token=...), which is cleaned
 * at once so that neither history nor a glance keeps it, and held by this tab
 * until set-up is finished, so that a reload goes on where it was.
 */
export function takeToken(): string {
  const found = new URLSearchParams(location.hash.slice(1)).get('token')?.trim() ?? '';
  if (location.hash !== '') history.replaceState(history.state, '', location.pathname + location.search);
  if (found !== '') {
    rememberToken(found);
    return found;
  }
  try {
    return sessionStorage.getItem(key) ?? '';
  } catch {
    return ''; // storage is closed: a reload asks for the token again
  }
}

export function rememberToken(token: string): void {
  try {
    sessionStorage.setItem(key, token);
  } catch {
    // Held in memory only, then.
  }
}

export function forgetToken(): void {
  try {
    sessionStorage.removeItem(key);
  } catch {
    // Nothing was kept.
  }
}
