// The configuration as a document in the mock: made-up plans over a real line of it.

export const yaml = `version: 1
box:
  ports:
    - name: web
      port: 8887
tenants:
  - domain: pbx.engines.example
    name: Analytical Engines
    extensions:
      - number: "101"
        display_name: Ada Lovelace
  - domain: pbx.harbour.example
    name: Harbour
`;

const who = /** @type {const} */ (['ada', 'charles', 'ringfence']);
const what = /** @type {const} */ (['extension.put', 'update', 'settings.put', 'extension.create', 'user.create']);

/** The revisions that are kept. */
export const revisions = () => Array.from({ length: 12 }, (_, i) => ({
  rev: 60 - i, at: new Date(Date.UTC(2026, 2, 2, 8, 0) - i * 5_400_000).toISOString(), actor: who[i % who.length], action: what[i % what.length], bytes: 18_240 - i * 37,
}));

/** @typedef {import('../../src/shared/schema.js').components['schemas']} S */

/** What a document would change: more if it leaves an organisation out. @param {string} text @returns {S['ConfigurationPlan']} */
export function planOf(text) {
  /** @type {S['ConfigurationChange'][]} */
  const changes = [];
  const lines = text.split('\n');
  const port = lines.findIndex((l) => /port: (?!8887)/.test(l));
  if (port >= 0) changes.push({ verb: 'change', object: 'box.ports[web]', line: port + 1, fields: [{ field: 'port', was: '8887', is: lines[port]?.split(': ')[1] ?? '' }] });
  const extension = lines.findIndex((l) => l.includes('"102"'));
  if (extension >= 0) changes.push({ verb: 'add', object: 'tenants[pbx.engines.example].extensions[102]', line: extension + 1, fields: [{ field: 'display_name', was: '', is: 'Charles Babbage' }] });
  if (!text.includes('pbx.harbour.example')) changes.push({ verb: 'remove', object: 'tenants[pbx.harbour.example]', line: 0, fields: [] });
  return { rev: 60, changes, more: false };
}
