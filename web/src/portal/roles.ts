import type { Session } from '../shared/api';

/** Whether a role administers its tenant. */
export function isAdmin(role: Session['role']): boolean {
  return role === 'system_admin' || role === 'admin';
}
