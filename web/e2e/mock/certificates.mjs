// Certificates of the mock, and an authority that answers at once.
/** @typedef {import('../../src/shared/schema.js').components['schemas']} S */

const day = 86_400_000;
const directory = 'https://acme-v02.api.letsencrypt.org/directory';
const staging = 'https://acme-staging-v02.api.letsencrypt.org/directory';

/** @param {Partial<S['Certificate']>} fields @returns {S['Certificate']} */
function certificate(fields) {
  const left = fields.days_left ?? 60;
  return {
    id: 'standard', source: 'uploaded', title: '', names: [], issuer: '', not_before: new Date(Date.now() - 30 * day).toISOString(), not_after: new Date(Date.now() + left * day).toISOString(),
    days_left: left, fingerprint: '4f8a2c019be37d5560f1aa93c2e4d8177b06fe219c3d5a48e0b7f6a1d2c39e54', key: 'ECDSA P-256', chain: 1, trusted: false, in_force: false, used_for: [], warnings: [], ...fields,
  };
}

export class Certificates {
  constructor() {
    this.items = [
      certificate({ source: 'made_here', title: 'pbx', names: ['pbx', '192.0.2.5'], issuer: 'CN=pbx', days_left: 361 }),
      certificate({ id: '77c01b6e5f9a2d34', title: 'pbx.engines.example', names: ['pbx.engines.example', 'www.engines.example'], issuer: 'CN=Harbour Issuing CA 4,O=Harbour Trust,C=DE', days_left: 9, chain: 2, trusted: true, in_force: true, used_for: ['pbx.engines.example'], warnings: ['it expires in 9 days'], fingerprint: '77c01b6e5f9a2d34aa93c2e4d8177b06fe219c3d5a48e0b7f6a1d2c39e544f8a' }),
    ];
    /** @type {S['ACME']} */
    this.acme = {
      enabled: false, directory: '', roots: '', email: '', names: [], terms_agreed: false, default_directory: directory, staging_directory: staging,
      state: 'off', error: '', failures: 0, tried_at: null, next_at: null, name_reports: [],
    };
    this.polls = 0; // answers that still say asking
  }

  /** @param {string} method @param {string} id @param {any} body @returns {[status: number, body?: any, errors?: Record<string, string>]} */
  list(method, id, body) {
    if (method === 'GET') return [200, { items: this.items, uncovered: ['sip.engines.example'], faults: [] }];
    if (method === 'POST') {
      if (!body.pkcs12 && !body.key && !/PRIVATE KEY/.test(body.certificate ?? '')) return [422, 'validation failed', { 'body.key': 'is missing: a text that begins with -----BEGIN PRIVATE KEY-----' }];
      const made = certificate({ id: '0a1b2c3d4e5f6071', title: 'sip.engines.example', names: ['sip.engines.example'], issuer: 'CN=Harbour Issuing CA 4', days_left: 89, used_for: ['sip.engines.example'] });
      this.items.push(made);
      if (body.use) this.choose(made.id);
      return [201, { ...made, warnings: ['the chain lacks the certificate of Harbour Issuing CA 4: phones that do not know it refuse the connection'] }];
    }
    if (method === 'PUT') return [200, this.choose(body.id)];
    const found = this.items.find((c) => c.id === id);
    if (found?.in_force) return [409, 'it is in force; choose another one first'];
    this.items = this.items.filter((c) => c !== found);
    return [204];
  }

  /** @param {string} id */
  choose(id) {
    for (const c of this.items) c.in_force = c.id === id;
    return this.items.find((c) => c.in_force);
  }

  /** @param {string} method @param {string} what @param {any} body @returns {[status: number, body?: any, errors?: Record<string, string>]} */
  automatic(method, what, body) {
    if (what === 'check') return [200, { items: body.names.map((/** @type {string} */ n) => this.report(n)) }];
    if (what === 'ask') {
      this.polls = 3; // the attempt begins only after this answer
      return [202, this.acme];
    }
    if (method === 'PUT') {
      if (body.names.length === 0) return [422, 'validation failed', { 'body.names': 'name at least one' }];
      if (!body.terms_agreed) return [422, 'validation failed', { 'body.terms_agreed': 'the authority wants them agreed to' }];
      Object.assign(this.acme, body, { state: body.enabled ? 'waiting' : 'off', next_at: body.enabled ? new Date(Date.now() + 60_000).toISOString() : null });
    } else if (this.polls > 0) this.progress();
    return [200, this.acme];
  }

  progress() {
    this.polls--;
    if (this.polls > 0) {
      if (this.acme.state !== 'asking') Object.assign(this.acme, { state: 'asking', tried_at: new Date().toISOString(), next_at: null });
      return;
    }
    this.acme.name_reports = this.acme.names.map((n) => this.report(n));
    const bad = this.acme.name_reports.find((r) => r.problem !== '');
    if (bad) {
      Object.assign(this.acme, { state: 'failed', error: `${bad.name}: ${bad.problem}`, failures: this.acme.failures + 1, next_at: new Date(Date.now() + 3_600_000).toISOString() });
      return;
    }
    Object.assign(this.acme, { state: 'waiting', error: '', failures: 0, next_at: new Date(Date.now() + 60 * day).toISOString() });
    this.items = this.items.filter((c) => c.id !== 'acme');
    this.items.push(certificate({ id: 'acme', source: 'acme', title: this.acme.names[0], names: this.acme.names, issuer: "CN=E7,O=Let's Encrypt,C=US", days_left: 89, chain: 2, trusted: true, used_for: this.acme.names }));
  }

  /** @param {string} name @returns {S['NameReport']} */
  report(name) {
    if (name.startsWith('old.')) return { name, addresses: ['203.0.113.9'], problem: 'leads to 203.0.113.9, which is not this machine', doubt: '' };
    if (name.startsWith('nat.')) return { name, addresses: ['198.51.100.7'], problem: '', doubt: 'leads to an address that is none of this machine: port 80 has to be forwarded' };
    return { name, addresses: ['192.0.2.5', '2001:db8::5'], problem: '', doubt: '' };
  }
}
