// A stand-in for the server: the routes of openapi.json over made-up data, and
// static files under the very policy of internal/httpd. It lets the pages be
// seen and tested in states that are hard to reach with a real PBX.
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Certificates } from './certificates.mjs';
import * as configuration from './configuration.mjs';
import * as data from './data.mjs';
import { people } from './people.mjs';
import { dryRun, routing } from './routing.mjs';

/** @typedef {import('../../src/shared/schema.js').components['schemas']} S */
/** @typedef {'fresh' | 'busy' | 'empty' | 'unfenced'} Scenario */
/** @typedef {import('node:http').IncomingMessage} Request */
/** @typedef {import('node:http').ServerResponse} Response */

/** What the administrators of box and organisation may do. */
const everything = ['tenant.manage', 'users.manage', 'roles.manage', 'extensions.manage', 'trunks.manage', 'rules.manage', 'calls.manage', 'cdr.read_all', 'recordings.read_all', 'audit.read', 'security.manage', 'reports'];

const dist = fileURLToPath(new URL('../../dist', import.meta.url));
const types = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2', '.webmanifest': 'application/manifest+json', '.md': 'text/plain' };

export const admin = { name: 'ada', password: 'Quiet-Harbour7' };
const fingerprint = '4f8a2c019be37d5560f1aa93c2e4d8177b06fe219c3d5a48e0b7f6a1d2c39e54';

/** @param {Scenario} scenario @param {number} [port] */
export async function startMock(scenario, port = 0) {
  const mock = new Mock(scenario);
  const server = createServer((req, res) => void mock.serve(req, res));
  await new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve(undefined)));
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    url: `http://localhost:${address.port}`,
    token: mock.token,
    mock,
    close: () => {
      mock.endStreams();
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

class Mock {
  /** @param {Scenario} scenario */
  constructor(scenario) {
    const now = Date.now();
    const empty = scenario === 'fresh' || scenario === 'empty';
    this.empty = empty;
    this.token = randomBytes(16).toString('hex');
    this.open = scenario !== 'fresh';
    this.fenced = scenario !== 'unfenced';
    /** What the packet filter complains about while it works. */
    this.complaint = '';
    this.started = now - (empty ? 90_000 : 1_000_000_000);
    /** @type {S['OwnFactor']} */
    this.factor = { on: false, required: false, recovery_codes: 0 };
    this.owed = false;
    this.mustSetUp = false;
    /** @type {S['SSO']} */
    this.sso = { enabled: false, label: '', issuer: '', client_id: '', domains: [], create_users: false, redirect_uri: 'https://pbx.engines.example:8887/sso' };
    /** @type {S['Token'][]} */
    this.tokens = [];
    /** @type {S['PersonSession'][]} */
    this.signedIn = data.sessions();
    /** @type {S['SignIn']} */
    this.signIn = data.signIn();
    /** @type {S['SignIn']} */
    this.boxSignIn = { ...data.signIn(), second_factor: 'everybody' };
    /** @type {Map<string, string>} CSRF tokens by session */
    this.sessions = new Map();
    this.password = admin.password;
    this.mustChange = false;
    this.eventsRefused = false;
    /** @type {number} a status that every API answer has, or 0 */
    this.failWith = 0;
    this.wrongTries = 0;
    /** @type {Set<Response>} */
    this.streams = new Set();
    this.administrator = this.open ? admin.name : '';
    this.tenant = { id: 1, name: this.open ? 'Analytical Engines' : '', domain: this.open ? 'pbx.engines.example' : '', extension_first: '101', extension_last: '199' };
    this.extensions = empty ? [] : data.extensions();
    this.keeping = { call_days: 0 };
    /** @type {S['Tenant']} */
    this.phoneSettings = { name: 'Acme', domain: 'pbx.example', extension_first: '101', extension_last: '199', digest: 'md5', tls_only: false, max_contacts: 10, qualify_seconds: 30, qualify_failures: 3, calls: data.callRules(), time_zone: 'Europe/Berlin', country: 'DE', max_extensions: 0, max_users: 0 };
    this.users = empty ? [] : data.users();
    this.roles = data.roles();
    this.groups = empty ? [] : data.groups();
    this.tenants = data.tenants();
    /** @type {string | undefined} the organisation that the last request named */
    this.workedIn = undefined;
    this.ports = data.ports();
    this.transports = data.transports();
    this.shown = new Certificates(); // by HTTPS and SIP over TLS
    this.addresses = data.addresses();
    this.bans = data.bans(Date.now());
    this.address = '192.0.2.77'; // of whoever asks
    this.addressRules = data.addressRules(Date.now());
    this.protection = data.protection();
    this.portFilter = 'filter';
    this.network = data.network();
    /** @type {{trial: S['SettingsTrial'], undo: () => void} | null} a change of settings that waits */
    this.trial = null;
    /** @type {S['NetworkTakenBack'] | undefined} */
    this.takenBack = undefined;
    this.origin = '';
    this.movesTo = ''; // where the portal is after the next change, if elsewhere
    this.oldPath = 1; // confirmations to come that are by an old connection
    this.yaml = configuration.yaml;
    this.ssh = data.ssh();
    /** @type {S['ClientCertificates']} */
    this.certificates = { mode: 'off', authorities: '', issuers: [] };
    this.registrations = empty ? [] : data.registrations(now);
    this.calls = empty ? [] : data.calls(now);
    this.records = empty ? [] : data.records(now);
    this.audit = empty ? [] : data.audit(now);
  }

  /** @param {Request} req @param {Response} res */
  async serve(req, res) {
    const url = new URL(req.url ?? '/', 'http://localhost');
    if (!url.pathname.startsWith('/api/')) {
      this.file(url.pathname, req.headers.host ?? '', res);
      return;
    }
    let text = '';
    for await (const chunk of req) text += chunk;
    try {
      this.api(req, res, url, text === '' ? {} : JSON.parse(text));
    } catch (e) {
      problem(res, 500, String(e));
    }
  }

  /** @param {string} path @param {string} host @param {Response} res */
  file(path, host, res) {
    const name = normalize(join(dist, path));
    const type = types[/** @type {keyof typeof types} */ (extname(path))];
    if (type !== undefined && name.startsWith(dist) && existsSync(name)) {
      res.writeHead(200, { 'Content-Type': type, 'Cache-Control': 'public, max-age=31536000, immutable', 'X-Content-Type-Options': 'nosniff' });
      return res.end(readFileSync(name));
    }
    if (extname(path) !== '') return res.writeHead(404).end();
    const nonce = randomBytes(16).toString('base64url');
    res.writeHead(200, {
      'Content-Type': 'text/html; charset=utf-8',
      'Cache-Control': 'no-store',
      'Referrer-Policy': 'no-referrer',
      'Content-Security-Policy':
        `default-src 'none'; script-src 'self'; style-src 'self' 'nonce-${nonce}'; img-src 'self' data: blob:; media-src 'self' blob:; ` +
        `font-src 'self'; connect-src 'self' wss://${host}; worker-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; ` +
        `form-action 'self'; require-trusted-types-for 'script'; trusted-types default`,
    });
    return res.end(readFileSync(join(dist, 'index.html'), 'utf8').replaceAll('__CSP_NONCE__', nonce));
  }

  /** @param {Request} req @param {Response} res @param {URL} url @param {any} body */
  api(req, res, url, body) {
    const path = url.pathname.replace('/api/v1', '');
    const method = req.method ?? 'GET';
    this.origin = req.headers.origin ?? this.origin;
    if (this.failWith > 0) return problem(res, this.failWith);
    if (path.startsWith('/setup')) return this.setup(req, res, method, path, body);
    if (!this.open) return problem(res, 404);
    if (path === '/login') return this.login(res, body);
    if (path === '/sso') return json(res, 200, { items: this.sso.enabled && this.sso.label ? [{ domain: this.tenant.domain, label: this.sso.label }] : [] });
    if (path === '/sso/finish') return body.state === 'good' ? json(res, 200, this.sessionState(this.startSession(res))) : problem(res, 400);
    if (path.startsWith('/invite')) {
      if (body.token !== data.inviteToken) return problem(res, 404, 'the invitation is unknown');
      if (path === '/invite/read') return json(res, 200, { name: 'zoe', passwords: this.signIn.passwords });
      return json(res, 200, this.sessionState(this.startSession(res)));
    }
    if (path === '/network/confirm') return this.confirmNetwork(res, body);
    if (path === '/settings/trial/confirm') return this.confirmTrial(res, body);
    const cookie = /__Host-ringfence-portal=([^;]+)/.exec(req.headers.cookie ?? '')?.[1];
    const csrf = this.sessions.get(cookie ?? '');
    this.workedIn = typeof req.headers['ringfence-tenant'] === 'string' ? req.headers['ringfence-tenant'] : this.workedIn;
    if (cookie === undefined || csrf === undefined) return problem(res, 401);
    if (method !== 'GET' && req.headers['x-csrf-token'] !== csrf) return problem(res, 403, 'the CSRF token is missing or wrong');
    if (path.startsWith('/session/second-factor') || path === '/session/password-policy' || path.startsWith('/sessions') || path.startsWith('/tokens')) return this.account2(res, method, path, body);
    if (path === '/session' || path === '/session/password') return this.own(res, method, path, body, cookie);
    if (this.mustChange) return problem(res, 403, 'the password must be changed first');
    if (path === '/session/bans') {
      const items = this.bans.filter((b) => b.source === this.address).map(({ source, scope, reason, until }) => ({ source, scope, reason, until }));
      return json(res, 200, { address: this.address, may_lift: true, items });
    }
    return this.portal(res, method, path, url.searchParams, body);
  }

  /** @param {Request} req @param {Response} res @param {string} method @param {string} path @param {any} body */
  setup(req, res, method, path, body) {
    if (this.open || req.headers['x-setup-token'] !== this.token) return problem(res, 404);
    if (path === '/setup/administrator' && method === 'PUT') {
      if (/ringfence/i.test(body.password)) return problem(res, 422, 'validation failed', { 'body.password': 'must not hold a word everybody guesses' });
      this.administrator = body.name;
      this.password = body.password;
      return json(res, 200, this.setupState());
    }
    if (path === '/setup/tenant' && method === 'PUT') {
      if (/_/.test(body.domain)) return problem(res, 422, 'validation failed', { 'body.domain': 'may only hold letters a-z, digits, hyphens and dots' });
      Object.assign(this.tenant, body);
      return json(res, 200, this.setupState());
    }
    if (path === '/setup/extensions' && method === 'POST') {
      const first = Number(this.tenant.extension_first);
      const wanted = body.extensions ?? Array.from({ length: body.count }, (_, i) => ({ number: String(first + i), display_name: '' }));
      const fresh = wanted.filter((/** @type {{number: string}} */ w) => !this.extensions.some((e) => e.number === w.number));
      for (const w of fresh) this.extensions.push({ number: w.number, display_name: w.display_name ?? '', no_answer_seconds: 30, registrations: 0, media_security: 'offer', dtmf: 'auto', call_handling: data.noHandling(), role: 'standard', effective_role: 'standard', groups: [], emergency_location: '', emergency_callback: '' });
      return json(res, 200, fresh.map((/** @type {{number: string, display_name: string}} */ w) => this.account(w.number)));
    }
    if (path === '/setup/finish' && method === 'POST') {
      this.open = true;
      this.startSession(res);
      return res.writeHead(204).end();
    }
    if (path === '/setup' && method === 'GET') return json(res, 200, this.setupState());
    return problem(res, 404);
  }

  /** @returns {S['Setup']} */
  setupState() {
    return {
      fingerprint,
      steps: [
        { id: 'administrator', done: this.administrator !== '' },
        { id: 'tenant', done: this.tenant.name !== '' },
        { id: 'extensions', done: this.extensions.length > 0 },
      ],
      suggestion: {
        administrator: this.administrator || 'admin', first_name: '', last_name: '', email: '', tenant_name: this.tenant.name, domain: this.tenant.domain || '192.168.10.2',
        extension_first: this.tenant.extension_first, extension_last: this.tenant.extension_last, extensions: 10, hostname: 'ringfence',
      },
    };
  }

  /** @param {Response} res @param {{name: string, password: string}} body */
  login(res, body) {
    if (this.wrongTries >= 5) {
      res.setHeader('Retry-After', '3540');
      return problem(res, 429);
    }
    if (body.name !== this.administrator || body.password !== this.password) {
      this.wrongTries++;
      return problem(res, 401);
    }
    this.owed = this.factor.on;
    return json(res, 200, this.sessionState(this.startSession(res)));
  }

  /** @param {Response} res @returns {string} the session's CSRF token */
  startSession(res) {
    const session = randomBytes(16).toString('hex');
    const csrf = randomBytes(16).toString('hex');
    this.sessions.set(session, csrf);
    res.setHeader('Set-Cookie', `__Host-ringfence-portal=${session}; Path=/; Secure; HttpOnly; SameSite=Strict`);
    return csrf;
  }

  /** @param {string} csrf @returns {S['Session']} */
  sessionState(csrf) {
    return {
      csrf_token: csrf, expires_at: new Date(Date.now() + 1_800_000).toISOString(), must_change_password: this.mustChange, second_factor_owed: this.owed, must_set_up_second_factor: this.mustSetUp, permissions: everything, role: 'system_admin',
      tenant: { ...this.tenant, ...this.tenants.find((t) => t.id > 1 && String(t.id) === this.workedIn) }, user: { name: this.administrator, first_name: this.administrator === 'ada' ? 'Ada' : '', last_name: this.administrator === 'ada' ? 'Lovelace' : '', email: '', extension: '' },
    };
  }

  /** Second factor and sessions of one's own. @param {Response} res @param {string} method @param {string} path @param {any} body */
  account2(res, method, path, body) {
    const wrong = () => problem(res, 403, 'the current password is wrong', { 'body.password': 'is wrong' });
    switch (`${method} ${path}`) {
      case 'GET /session/password-policy':
        return json(res, 200, this.signIn.passwords);
      case 'GET /session/second-factor':
        return json(res, 200, this.factor);
      case 'POST /session/second-factor':
        if (body.code !== '123456') return problem(res, 403, 'the code is wrong', { 'body.code': 'is wrong, or was used' });
        this.owed = false;
        return json(res, 200, this.sessionState(this.startSession(res)));
      case 'POST /session/second-factor/totp':
        return body.password === this.password ? json(res, 200, data.enrolment()) : wrong();
      case 'PUT /session/second-factor/totp':
        if (body.code !== '123456') return problem(res, 422, 'validation failed', { 'body.code': 'is not the code the app shows for this account now' });
        this.factor = { on: true, required: this.mustSetUp, recovery_codes: 10 };
        this.mustSetUp = false;
        return json(res, 200, { recovery_codes: data.recoveryCodes() });
      case 'POST /session/second-factor/recovery-codes':
        return body.password === this.password ? json(res, 200, { recovery_codes: data.recoveryCodes() }) : wrong();
      case 'POST /session/second-factor/disable':
        if (body.password !== this.password) return wrong();
        this.factor = { ...this.factor, on: false, recovery_codes: 0 };
        return res.writeHead(204).end();
      case 'GET /tokens':
        return json(res, 200, { items: this.tokens });
      case 'POST /tokens': {
        /** @type {S['Token']} */
        const token = { id: this.tokens.length + 1, name: body.name, read_only: body.read_only, permissions: [], sources: body.sources, created_at: new Date().toISOString(), expires_at: body.expires_at, used_from: '' };
        if (body.sources.includes('all')) return problem(res, 422, 'validation failed', { 'body.sources': 'must be networks such as 192.0.2.0/24, or addresses' });
        this.tokens.push(token);
        return json(res, 201, { secret: 'rfence_dGhpcyBpcyBubyB0b2tlbiBidXQgbG9va3MgbGlrZQ', token });
      }
      case 'GET /sessions':
        return json(res, 200, { items: this.signedIn });
      case 'DELETE /sessions':
        this.signedIn = this.signedIn.filter((s) => s.own);
        return res.writeHead(204).end();
    }
    this.tokens = this.tokens.filter((t) => `/tokens/${t.id}` !== path);
    this.signedIn = this.signedIn.filter((s) => `/sessions/${s.id}` !== path);
    return res.writeHead(204).end();
  }

  /** @param {Response} res @param {string} method @param {string} path @param {any} body @param {string} session */
  own(res, method, path, body, session) {
    if (path === '/session/password') {
      if (body.current !== this.password) return problem(res, 403, 'the current password is wrong', { 'body.current': 'the current password is wrong' });
      this.password = body.new;
      this.mustChange = false;
      this.sessions.clear();
      return json(res, 200, this.sessionState(this.startSession(res)));
    }
    if (method === 'DELETE') {
      this.sessions.delete(session);
      this.endStreams();
      return res.writeHead(204).end();
    }
    return json(res, 200, this.sessionState(this.sessions.get(session) ?? ''));
  }

  /** @param {Response} res @param {string} method @param {string} path @param {URLSearchParams} query @param {any} body */
  portal(res, method, path, query, body) {
    const [, head = '', id = '', tail = ''] = path.split('/');
    if (method === 'GET' && Object.hasOwn(routing, path)) {
      const answer = /** @type {Record<string, any>} */ (routing)[path];
      return json(res, 200, this.empty && 'items' in answer && path !== '/dialplan/countries' ? { ...answer, items: [] } : answer);
    }
    if (path.startsWith('/configuration')) return this.configuration(res, method, path.slice('/configuration'.length), body);
    if (path === '/dialplan/try') return json(res, 200, dryRun);
    if (path === '/trunks' && method === 'POST') {
      if (body.host === '127.0.0.1') return problem(res, 422, 'validation failed', { 'body.host': 'must not be the machine itself' });
      return json(res, 201, body);
    }
    switch (head) {
      case 'status':
        return json(res, 200, this.status());
      case 'extensions':
        if (id === 'csv') return people(this, res, method, id, '', body);
        return id === '' ? this.allExtensions(res, method, body) : this.oneExtension(res, method, id, tail, body);
      case 'sign-in':
        if (id === 'sso') {
          if (method === 'PUT' && this.sso.issuer !== body.issuer && !body.client_secret) return problem(res, 422, 'validation failed', { 'body.client_secret': 'is needed for a new issuer' });
          if (method === 'PUT') {
            const { client_secret: _, ...rest } = body;
            this.sso = { ...this.sso, ...rest };
          }
          return json(res, 200, this.sso);
        }
        if (method === 'PUT') {
          if (body.passwords.mode === 'nist' && body.passwords.min < 15) return problem(res, 422, 'validation failed', { 'body.passwords.min': 'must be between 15 and 128' });
          this.signIn = body;
        }
        return json(res, 200, this.signIn);
      case 'box':
        if (id === 'sign-in') {
          if (method === 'PUT') this.boxSignIn = body;
          return json(res, 200, this.boxSignIn);
        }
        return problem(res, 404);
      case 'users':
      case 'roles':
      case 'groups':
      case 'tenants':
      case 'own':
        return people(this, res, method, head, id, body);
      case 'registrations':
        return json(res, 200, { items: this.registrations, more: false });
      case 'tenant':
        if (method === 'PUT') {
          const calls = { ...this.phoneSettings.calls, ...body.calls };
          if (calls.session_expires_seconds < calls.session_min_seconds) return problem(res, 422, 'validation failed', { 'body.calls.session_expires_seconds': 'must be between the shortest session and 86400' });
          this.phoneSettings = { ...this.phoneSettings, ...body, calls };
        }
        return json(res, 200, this.phoneSettings);
      case 'calls':
        if (method === 'DELETE') {
          this.calls = this.calls.filter((c) => c.id !== id);
          this.send('call', {});
          return res.writeHead(204).end();
        }
        if (tail === 'trace') return json(res, 200, data.trace(id));
        return json(res, 200, { items: this.calls, more: false });
      case 'cdrs':
        return this.callRecords(res, id, query);
      case 'keeping':
        if (method === 'PUT') this.keeping = body;
        return json(res, 200, this.keeping);
      case 'audit':
        return this.page(res, this.audit, query);
      case 'ports':
        if (id === 'rules') return this.portRules(res, query);
        if (method === 'PUT') return this.putPort(res, id, body);
        return json(res, 200, { items: this.ports.map((p) => (this.fenced ? p : { ...p, packets: 0, bytes: 0 })) });
      case 'transports':
        if (method === 'PUT') {
          const found = this.transports.find((t) => t.id === id);
          return found ? json(res, 200, Object.assign(found, body)) : problem(res, 404);
        }
        return json(res, 200, { items: this.transports });
      case 'certificates':
      case 'acme': {
        const [status, answer, errors] = head === 'acme' ? this.shown.automatic(method, id, body) : this.shown.list(method, id, body);
        if (status >= 400) return problem(res, status, answer, errors);
        return status === 204 ? res.writeHead(204).end() : json(res, status, answer);
      }
      case 'addresses':
        return this.ownAddresses(res, method, body);
      case 'ssh':
        return this.shell(res, method, id, tail, body);
      case 'security':
        return this.security(res, method, path, query, body);
      case 'settings':
        this.takeBack('taken back on request');
        return res.writeHead(204).end();
      case 'network':
        return this.machineNetwork(res, method, id, body);
      case 'client-certificates':
        return this.clientCertificates(res, method, body);
      case 'events':
        return this.events(res);
      default:
        return problem(res, 404);
    }
  }

  /** @param {Response} res @param {string} method @param {string} id @param {string} tail @param {any} body */
  shell(res, method, id, tail, body) {
    if (method === 'PUT') this.ssh = { ...this.ssh, enabled: body.enabled, state: body.enabled ? 'listening' : 'off' };
    if (method === 'POST') {
      if (body.key.includes('PRIVATE')) return problem(res, 422, 'validation failed', { 'body.key': 'is a private key; it belongs to nobody but its owner. Paste the line of the .pub file' });
      this.ssh.keys.push({ id: '1', label: body.label, type: 'ssh-ed25519', bits: 256, fingerprint: 'SHA256:q5mS0V2r3b8', cloud: false, added_at: new Date().toISOString(), added_by: 'ada' });
    }
    if (method === 'DELETE') this.ssh.keys = this.ssh.keys.filter((k) => k.id !== tail || id !== 'keys');
    return method === 'DELETE' ? res.writeHead(204).end() : json(res, method === 'POST' ? 201 : 200, this.ssh);
  }

  /** @param {Response} res @param {string} method @param {string} path @param {URLSearchParams} query @param {any} body */
  security(res, method, path, query, body) {
    switch (`${method} ${path.replace(/^.*\/security\//, '')}`) {
      case 'GET bans':
        return json(res, 200, { items: this.bans, total: this.bans.length });
      case 'GET attacks':
        return json(res, 200, { items: data.attacks(Date.now()), next: 0 });
      case 'GET summary':
        return json(res, 200, { last_hour: 6, banned: this.bans.length, dropped: 48213, rate: 37.4, counted: true });
      case 'GET history':
        return json(res, 200, data.packetHistory(Date.now(), query.get('range') ?? '1h'));
      case 'DELETE bans':
        this.bans = this.bans.filter((b) => b.source !== query.get('source') || b.scope !== query.get('scope'));
        return res.writeHead(204).end();
      case 'POST bans/allow': {
        this.bans = this.bans.filter((b) => b.source !== body.source);
        const rule = { network: body.source, first: body.source, last: body.source, action: 'allow', note: body.note, expires_at: null, created_at: new Date().toISOString(), created_by: 'admin' };
        this.addressRules.unshift(/** @type {S['AddressRule']} */ (rule));
        return json(res, 201, rule);
      }
      case 'GET addresses':
        return json(res, 200, { items: this.addressRules, total: this.addressRules.length });
      case 'POST addresses': {
        if (!/^[0-9a-f:.]+(\/\d+)?$/.test(body.network)) return problem(res, 422, 'validation failed', { 'body.network': 'must begin with an IP address such as 203.0.113.7; names are not looked up' });
        if (body.network === '192.168.10.0/24' && !body.anyway)
          return problem(res, 409, '192.168.10.0/24 holds 192.168.10.77, from where you are asking: you would be shut out yourself', { 'body.anyway': 'set it to do so all the same' });
        const rule = { network: body.network, first: '192.168.10.0', last: '192.168.10.255', action: body.action, note: body.note, expires_at: body.expires_at, created_at: new Date().toISOString(), created_by: 'admin' };
        this.addressRules.unshift(rule);
        return json(res, 201, rule);
      }
      case 'DELETE addresses':
        this.addressRules = this.addressRules.filter((r) => r.network !== query.get('network'));
        return res.writeHead(204).end();
      case 'PUT filter': {
        if (body.mode === 'off' && body.confirmation !== 'switch the packet filter off') return problem(res, 422, 'validation failed', { 'body.confirmation': 'must be the words: switch the packet filter off' });
        if (this.trial) return problem(res, 409, 'a change waits to be confirmed: it changes cloud_mode too; keep it or take it back first');
        const before = this.portFilter;
        this.portFilter = body.mode;
        const trial = this.try(['cloud_mode'], this.movesTo || this.origin, () => (this.portFilter = before));
        return json(res, 200, { mode: body.mode, cloud: 'AWS', trial });
      }
      case 'GET filter':
        return json(res, 200, { mode: this.portFilter, cloud: 'AWS' });
      case 'PUT protection':
        if (body.level2 <= body.level1) return problem(res, 422, 'validation failed', { 'body.level2': 'must be above level 1 and at most 1000000' });
        this.protection = body;
        return json(res, 200, body);
      case 'GET protection':
        return json(res, 200, this.protection);
      case 'GET check':
        return json(res, 200, { address: query.get('address'), verdict: 'banned', explanation: 'Packets to the SIP ports are dropped until the ban ends: wrong passwords.', own: false, trusted: false, bans: this.bans.slice(0, 1), ...(query.get('port') && { packet: { accepted: false, cause: 'ban_sip', explanation: 'Dropped: it is banned from the SIP ports for another 57m0s: wrong passwords.', rules: ['pre: udp dport @ports_sip_udp goto guard_sip_udp', 'guard_sip_udp: ip saddr @auto_sip_4 counter name "drop_ban_sip" drop'] } }) });
      default:
        return problem(res, 404);
    }
  }

  /** @param {Response} res @param {string} method @param {any} body */
  ownAddresses(res, method, body) {
    const refuse = (/** @type {string} */ field) => problem(res, 422, 'validation failed', { [`body.${field}`]: 'must be an IP address such as 203.0.113.7; names are not looked up' });
    if (method === 'PUT') {
      if (/[a-z]/.test(body.public_address)) return refuse('public_address');
      const bad = body.public_addresses.findIndex((/** @type {S['PublicAddress']} */ p) => p.public === '');
      if (bad >= 0) return refuse(`public_addresses[${bad}].public`);
      this.addresses = { ...this.addresses, ...body };
    }
    return json(res, 200, this.addresses);
  }

  /** @param {Response} res @param {string} method @param {string} deed @param {any} body */
  machineNetwork(res, method, deed, body) {
    if (deed === 'revert') {
      delete this.network.pending;
      this.network.reverted = { reason: 'taken back on request', at: new Date().toISOString() };
      return res.writeHead(204).end();
    }
    if (method === 'PUT') {
      for (const [i, entry] of body.interfaces.entries()) {
        const bad = entry.addresses.findIndex((/** @type {string} */ a) => !a.includes('/'));
        if (bad >= 0) return problem(res, 422, 'validation failed', { [`body.interfaces[${i}].addresses[${bad}]`]: 'must be an address with its prefix length, such as 192.0.2.10/24' });
      }
      this.network = { ...this.network, settings: body.interfaces, ntp: body.ntp ?? [], pending: { id: 'TRIALID', seconds_left: body.confirm_seconds } };
      return json(res, 200, this.network.pending);
    }
    return json(res, 200, this.network);
  }

  /** @param {Response} res @param {string} method @param {string} path @param {any} body */
  configuration(res, method, path, body) {
    if (path === '') return res.writeHead(200, { 'Content-Type': 'application/yaml' }).end(this.yaml);
    if (path === '/history') return json(res, 200, { items: this.empty ? [] : configuration.revisions() });
    const text = method === 'POST' && !path.startsWith('/history') ? body.yaml : configuration.yaml.replace('port: 8887', 'port: 8443');
    const wrong = text.split('\n').findIndex((/** @type {string} */ l) => l.includes('colour:'));
    if (wrong >= 0) {
      return problem(res, 422, 'the document is refused as a whole: nothing was changed', { [`body.yaml:${wrong + 1}`]: 'tenants[pbx.engines.example].colour: there is no such field' });
    }
    const plan = configuration.planOf(text);
    if (path.endsWith('/plan')) return json(res, 200, plan);
    const goes = plan.changes.some((c) => c.verb === 'remove');
    if (goes && body.remove_tenants !== true) return problem(res, 409, 'whole organisations would go');
    const before = this.yaml;
    this.yaml = text;
    const trial = plan.changes.some((c) => c.object.startsWith('box.')) ? this.try(['portal'], this.origin, () => (this.yaml = before)) : undefined;
    return json(res, 200, { ...plan, rev: 61, trial });
  }

  /** Puts a change to a trial. @param {string[]} changes @param {string} where @param {() => void} undo */
  try(changes, where, undo) {
    this.trial = { trial: { id: 'TRIALID', seconds_left: 60, where, by: 'admin', changes }, undo };
    this.takenBack = undefined;
    return this.trial.trial;
  }

  /** @param {string} reason */
  takeBack(reason) {
    this.trial?.undo();
    this.trial = null;
    this.takenBack = { reason, at: new Date().toISOString() };
    this.send('status', this.status());
  }

  /** @param {Response} res @param {any} body */
  confirmTrial(res, body) {
    if (body.id !== this.trial?.trial.id) return problem(res, 409, 'no such change waits for confirmation');
    if (this.oldPath-- > 0) return problem(res, 409, 'this connection does not show that the machine can be reached after the change; connect anew, to an address it has now');
    this.trial = null;
    return res.writeHead(204).end();
  }

  /** @param {Response} res @param {any} body */
  confirmNetwork(res, body) {
    if (body.id !== this.network.pending?.id) return problem(res, 409, 'no such change of the network waits for confirmation');
    if (this.oldPath-- > 0) return problem(res, 409, 'this connection does not show that the machine can be reached after the change; connect anew, to an address it has now');
    delete this.network.pending;
    return res.writeHead(204).end();
  }

  /** @param {Response} res @param {string | undefined} id @param {any} body */
  putPort(res, id, body) {
    const found = this.ports.find((p) => p.id === id);
    if (!found) return problem(res, 404);
    const bad = body.sources.findIndex((/** @type {string} */ s) => /[g-z]/.test(s));
    if (bad >= 0) return problem(res, 422, 'validation failed', { [`body.sources[${bad}]`]: 'must begin with an IP address such as 203.0.113.7; names are not looked up' });
    if (body.zones.length === 0) return problem(res, 422, 'validation failed', { 'body.zones': 'no zone is left that may reach it' });
    if (this.ports.some((p) => p !== found && p.proto === found.proto && p.first <= body.port && body.port <= p.last)) return problem(res, 409, 'taken', { 'body.port': `${found.proto} port ${body.port} belongs to another row` });
    if (id === 'portal' && body.sources.length > 0 && !body.anyway) {
      return problem(res, 409, 'the sources do not hold 192.168.10.77, from where you are asking: you would be shut out yourself', { 'body.anyway': 'set it to do so all the same' });
    }
    const { anyway: _, port, ...rest } = body;
    if (found.first === found.last) found.first = found.last = port;
    return json(res, 200, Object.assign(found, rest));
  }

  /** @param {Response} res @param {URLSearchParams} query */
  portRules(res, query) {
    const format = query.get('format') ?? '';
    const from = query.get('management') ?? '';
    if (/[g-z]/.test(from)) return problem(res, 422, 'validation failed', { 'body.management': `"${from}" is neither a network like 192.0.2.0/24 nor an address` });
    const line = 'gcloud compute firewall-rules create ringfence-wan-ipv4 --network="$NETWORK" --direction=INGRESS --source-ranges=0.0.0.0/0 --allow=tcp:8887,udp:45000-64999,udp:5060';
    return json(res, 200, { format, text: `# Inbound rules of Ringfence, written by: ringfence ports -format ${format}\n${line}\n# ${from}\n` });
  }

  /** @param {Response} res @param {string} method @param {any} body */
  clientCertificates(res, method, body) {
    if (method === 'PUT') {
      if (body.mode !== 'off' && body.authorities === '') return problem(res, 422, 'validation failed', { 'body.authorities': 'are needed to verify client certificates' });
      this.certificates = { ...body, issuers: body.authorities === '' ? [] : [{ name: 'CN=Phones of Acme,O=Acme', expires_at: '2031-05-01T10:00:00Z' }] };
    }
    return json(res, 200, this.certificates);
  }

  /** @param {Response} res @param {string} form @param {URLSearchParams} query */
  callRecords(res, form, query) {
    const asked = (/** @type {string} */ name) => query.get(name) ?? '';
    const found = this.records.filter((r) => {
      const numbers = [r.caller.number, r.callee.number];
      return (
        (asked('extension') === '' || numbers.includes(asked('extension'))) &&
        (asked('number') === '' || numbers.some((n) => n.includes(asked('number')))) &&
        (asked('result') === '' || (asked('result') === 'answered') === (r.answered_at !== undefined)) &&
        (asked('direction') === '' || r.direction === asked('direction')) &&
        (asked('from') === '' || r.started_at >= asked('from')) &&
        (asked('to') === '' || r.started_at < asked('to'))
      );
    });
    if (form !== 'csv') return this.page(res, found, query);
    res.writeHead(200, { 'Content-Type': 'text/csv; charset=utf-8' });
    return res.end(['id', ...found.map((r) => r.id)].join('\n'));
  }

  /** @template T @param {Response} res @param {T[]} all @param {URLSearchParams} query */
  page(res, all, query) {
    const from = Number(query.get('before') ?? 0);
    const to = from + Number(query.get('limit') ?? 100);
    return json(res, 200, { items: all.slice(from, to), next: to < all.length ? String(to) : '' });
  }

  /** @returns {S['Status']} */
  status() {
    return {
      version: '0.1.0', hostname: 'ringfence', rev: 60, uptime_seconds: Math.floor((Date.now() - this.started) / 1000),
      fence: { active: this.fenced, rev: this.fenced ? 60 : 0, error: this.fenced ? this.complaint : 'connecting to the fence: no such file' },
      applied: [
        { subsystem: 'sip', rev: 60, error: this.fenced ? '' : 'listening on 0.0.0.0:5061: address in use' },
        { subsystem: 'media', rev: 60, error: '' },
      ],
      counts: { extensions: this.extensions.length, registrations: this.registrations.length, calls: this.calls.length },
      cloud: 'none', notices: [],
      trial: this.trial || this.takenBack ? { pending: this.trial?.trial, reverted: this.takenBack } : undefined,
    };
  }

  /** @param {Response} res @param {string} method @param {any} body */
  allExtensions(res, method, body) {
    if (method === 'GET') return json(res, 200, { items: this.extensions, next: '' });
    if (this.extensions.some((e) => e.number === body.number)) return problem(res, 409, 'the extension exists');
    if (/[\u0000-\u001f]/.test(body.display_name ?? '')) return problem(res, 422, 'validation failed', { 'body.display_name': 'holds a control or invisible character' });
    this.extensions = [...this.extensions, { number: body.number, display_name: body.display_name ?? '', no_answer_seconds: body.no_answer_seconds ?? 30, registrations: 0, media_security: body.media_security ?? this.phoneSettings.calls.media_security, dtmf: body.dtmf ?? 'auto', call_handling: body.call_handling ?? data.noHandling(), role: 'standard', effective_role: 'standard', groups: [], emergency_location: '', emergency_callback: '' }];
    return json(res, 201, this.account(body.number));
  }

  /** @param {Response} res @param {string} method @param {string} number @param {string} tail @param {any} body */
  oneExtension(res, method, number, tail, body) {
    const found = this.extensions.find((e) => e.number === number);
    if (found === undefined) return problem(res, 404);
    if (tail === 'sip-password') return json(res, 200, this.account(number));
    if (tail === 'provisioning') {
      const path = randomBytes(16).toString('hex').slice(0, 26);
      return json(res, 200, { url: `https://192.168.10.2:8887/provision/${method === 'POST' ? path : '3kq7wzv5mt2hd6xgr4nsy8pb1c'}/linphone.xml`, qr_png: data.qrPNG() });
    }
    if (method === 'DELETE') {
      this.extensions = this.extensions.filter((e) => e !== found);
      return res.writeHead(204).end();
    }
    if (method === 'PUT') Object.assign(found, body);
    return json(res, 200, found);
  }

  /** @param {string} number @returns {S['SIPCredentials']} */
  account(number) {
    const e = this.extensions.find((x) => x.number === number);
    return { number, display_name: e?.display_name ?? '', sip_user: number, sip_password: randomBytes(15).toString('base64url'), domain: this.tenant.domain };
  }

  /** @param {Response} res */
  events(res) {
    if (this.eventsRefused) return problem(res, 429);
    res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    res.write(`event: status\ndata: ${JSON.stringify(this.status())}\n\n`);
    this.streams.add(res);
    res.on('close', () => this.streams.delete(res));
    return res;
  }

  /** @param {string} event @param {unknown} payload */
  send(event, payload) {
    for (const s of this.streams) s.write(`event: ${event}\ndata: ${JSON.stringify(payload)}\n\n`);
  }

  endStreams() {
    for (const s of this.streams) s.end();
    this.streams.clear();
  }
}

/** @param {Response} res @param {number} status @param {unknown} value */
function json(res, status, value) {
  return res.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
}

/** @param {Response} res @param {number} status @param {string} [detail] @param {Record<string, string>} [errors] */
function problem(res, status, detail, errors) {
  const list = Object.entries(errors ?? {}).map(([location, message]) => ({ location, message }));
  return res
    .writeHead(status, { 'Content-Type': 'application/problem+json' })
    .end(JSON.stringify({ type: 'about:blank', status, detail, errors: list.length > 0 ? list : undefined }));
}
