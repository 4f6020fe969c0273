/** Only paths of this portal may be gone to after signing in; anything else is dropped. */
export function localPath(path: string | undefined): string | undefined {
  return path !== undefined && /^\/(?![/\\])/.test(path) && !path.startsWith('/login') ? path : undefined;
}
