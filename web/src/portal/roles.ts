import type { Session } from '../shared/api';
import { shell } from '../texts/shell';

/** Whether a role administers its tenant. */
export function isAdmin(role: string): boolean {
  return role === 'system_admin' || role === 'admin';
}

/** The role's name for people; those of an organisation's own have one only. */
export function roleName(role: string): string {
  return Object.entries<string>(shell.roles).find(([name]) => name === role)?.[1] ?? role;
}

/** What a page needs: a permission, 'box' (administrators of the box) or nothing. */
const pageNeeds: Record<string, string> = {
  '/own': '',
  '/cdrs': '',
  '/account': '',
  '/users': 'users.manage',
  '/roles': 'roles.manage',
  '/groups': 'extensions.manage',
  '/extensions': 'extensions.manage',
  '/registrations': 'calls.manage',
  '/calls': 'calls.manage',
  '/trunks': 'trunks.manage',
  '/numbers': 'trunks.manage',
  '/rates': 'trunks.manage',
  '/outgoing': 'rules.manage',
  '/incoming': 'rules.manage',
  '/hours': 'rules.manage',
  '/numbering': 'rules.manage',
  '/try': 'rules.manage',
  '/audit': 'audit.read',
  '/tenants': 'box',
  '/transports': 'box',
  '/certificates': 'box',
  '/addresses': 'box',
  '/security': 'box',
  '/ssh': 'box',
  '/network': 'box',
  '/configuration': 'box',
};

/** Whether somebody may open a page. Pages that are not listed are for administrators. */
export function mayOpen(session: Session, path: string): boolean {
  const need = pageNeeds[path] ?? 'tenant.manage';
  if (need === 'box') return session.role === 'system_admin';
  return need === '' || session.permissions.includes(need);
}
