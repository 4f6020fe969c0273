// Users, roles, groups, organisations and one's own data, as far as pages need them.

/** @typedef {import('../../src/shared/schema.js').components['schemas']} S */
/** @typedef {import('node:http').ServerResponse} Response */
/**
 * @typedef {object} People
 * @property {S['User'][]} users
 * @property {S['RoleList']} roles
 * @property {S['Group'][]} groups
 * @property {S['TenantRow'][]} tenants
 * @property {S['Extension'][]} extensions
 * @property {S['Registration'][]} registrations
 * @property {(number: string) => S['SIPCredentials']} account
 */

/** @param {Response} res @param {number} status @param {unknown} body */
function json(res, status, body) {
  res.writeHead(status, { 'Content-Type': 'application/json' });
  res.end(JSON.stringify(body));
}

/** @param {People} m @param {string} list @returns {S['PeopleImported']} */
function rehearse(m, list) {
  const rows = list.trim().split('\n').slice(1).map((line) => line.split(','));
  const errors = rows.flatMap(([number], i) => (m.extensions.some((e) => e.number === number) ? [{ row: i + 2, column: 'number', reason: 'is used by another extension' }] : []));
  return { extensions: rows.length - errors.length, users: rows.length - errors.length, errors, credentials: '' };
}

/** @param {People} m @param {Response} res @param {string} method @param {string} head @param {string} id @param {any} body */
export function people(m, res, method, head, id, body) {
  switch (`${method} ${head}`) {
    case 'GET users':
      return json(res, 200, { items: m.users, next: '' });
    case 'POST users': {
      const user = { id: m.users.length + 100, must_change_password: true, created_at: new Date().toISOString(), ...body };
      m.users.push(user);
      return json(res, 201, { user, password: 'Kq7mWxhT4pRvZ2nB', ...(body.new_extension ? { sip: m.account(body.extension) } : {}) });
    }
    case 'GET roles':
      return json(res, 200, m.roles);
    case 'POST roles':
      m.roles.items.push({ built_in: false, ...body });
      return json(res, 201, body);
    case 'GET groups':
      return json(res, 200, { items: m.groups });
    case 'GET tenants':
      return json(res, 200, { items: m.tenants });
    case 'GET own':
      if (id === 'registrations') return json(res, 200, { items: m.registrations.slice(0, 2), more: false });
      return json(res, 200, { user: m.users[0], extension: m.extensions[0], dials: ['internal', 'local', 'national'] });
    case 'POST csv': {
      const got = rehearse(m, body.csv);
      return json(res, 200, body.dry_run ? got : { ...got, credentials: 'number,sip_password\n160,x\n' });
    }
  }
  return res.writeHead(204).end();
}
