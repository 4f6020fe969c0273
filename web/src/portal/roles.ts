import { shell } from '../texts/shell';

/** Whether a role administers its tenant. */
export function isAdmin(role: string): boolean {
  return role === 'system_admin' || role === 'admin';
}

/** The role's name for people; those of an organisation's own have one only. */
export function roleName(role: string): string {
  return Object.entries<string>(shell.roles).find(([name]) => name === role)?.[1] ?? role;
}
