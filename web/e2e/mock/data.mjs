// What a small office looks like, relative to now and equal in every run.

import { deflateSync } from 'node:zlib';

/** @typedef {import('../../src/shared/schema.js').components['schemas']} S */

/** A small generator with a seed, so that screenshots can be compared. */
export function random(seed = 7) {
  let x = seed;
  return () => {
    x = (x * 1103515245 + 12345) % 2147483648;
    return x / 2147483648;
  };
}

const people = [
  ['101', 'Ada Lovelace'], ['102', 'Reception'], ['103', 'Grace Hopper'], ['104', 'Workshop'], ['105', 'Alan Turing'],
  ['106', 'Hedy Lamarr'], ['107', 'Meeting room, 2nd floor'], ['108', 'Edsger Dijkstra'], ['109', 'Barbara Liskov'],
  ['110', 'Door station'], ['111', 'Radia Perlman'], ['112', ''],
];
const agents = ['Linphone-Desktop/5.2.6 (Debian)', 'Yealink SIP-T54W 96.86.0.100', 'Snom D785/10.1.175.16', 'LinphoneAndroid/6.0.4 (Pixel 8)', 'Grandstream GXP2170 1.0.11.64'];

/** @param {number} ms */
const iso = (ms) => new Date(ms).toISOString();

/** @returns {S['CallHandling']} */
export function noHandling() {
  return { forward_always: '', forward_busy: '', forward_no_answer: '', forward_unregistered: '', do_not_disturb: false, max_calls: 0, ring_also: [] };
}

/** @returns {S['Extension'][]} */
export function extensions() {
  return people.map(([number, display_name], i) => ({
    number: number ?? '', display_name: display_name ?? '', no_answer_seconds: i === 3 ? 60 : 30, registrations: i > 8 ? 0 : i === 0 ? 2 : 1, media_security: i === 4 ? 'require' : 'offer', dtmf: 'auto', call_handling: noHandling(), role: 'standard', effective_role: i === 0 ? 'admin' : 'standard', groups: i === 2 ? ['Sales'] : [], emergency_location: '', emergency_callback: '',
  }));
}

/** @returns {S['User'][]} */
export function users() {
  const of = (/** @type {number} */ id, /** @type {string} */ name, /** @type {string} */ first_name, /** @type {string} */ last_name, /** @type {string} */ role, /** @type {string} */ extension) => ({
    id, name, first_name, last_name, email: `${name}@engines.example`, phone: '', role, extension, must_change_password: id === 3, created_at: iso(1_700_000_000_000),
  });
  return [of(1, 'ada', 'Ada', 'Lovelace', 'admin', '101'), of(2, 'grace', 'Grace', 'Hopper', 'standard_international', '103'), of(3, 'alan', 'Alan', 'Turing', 'standard', '105'), of(4, 'reception', '', '', 'reception', '102')];
}

/** @returns {S['RoleList']} */
export function roles() {
  const classes = ['internal', 'local', 'national', 'mobile', 'international', 'premium'];
  const permissions = ['tenant.manage', 'users.manage', 'roles.manage', 'extensions.manage', 'trunks.manage', 'rules.manage', 'calls.manage', 'cdr.read_all', 'recordings.read_all', 'audit.read', 'security.manage', 'reports'];
  return {
    classes, permissions,
    items: [
      { name: 'admin', description: 'Administers the tenant', permissions, classes, built_in: true },
      { name: 'standard_international', description: 'Calls inside, in the own country and abroad', permissions: [], classes: classes.slice(0, 5), built_in: true },
      { name: 'standard', description: 'Calls inside and emergency numbers', permissions: [], classes: ['internal'], built_in: true },
      { name: 'reception', description: 'Front desk', permissions: ['calls.manage', 'cdr.read_all'], classes: ['internal', 'local', 'national'], built_in: false },
    ],
  };
}

/** @returns {S['Group'][]} */
export function groups() {
  return [{ id: 21, name: 'Sales', members: ['103', '105'] }, { id: 22, name: 'Workshop', members: ['104'] }];
}

/** @returns {S['TenantRow'][]} */
export function tenants() {
  const common = { time_zone: 'Europe/Berlin', country: 'DE', tones: 'DE', max_extensions: 0, max_users: 0, registrations: 9 };
  return [
    { ...common, id: 1, name: 'Analytical Engines', domain: 'pbx.engines.example', extension_first: '101', extension_last: '199', extensions: 12, calls: 3 },
    { ...common, id: 2, name: 'Difference & Sons', domain: 'pbx.difference.example', extension_first: '1000', extension_last: '1999', extensions: 480, calls: 17, max_extensions: 500 },
  ];
}

/** @param {number} now @returns {S['Registration'][]} */
export function registrations(now) {
  const r = random(3);
  return extensions().flatMap((e, i) =>
    Array.from({ length: e.registrations }, (_, k) => ({
      number: e.number,
      contact: `sip:${e.number}@192.168.10.${20 + i}:${5060 + k};transport=udp`,
      user_agent: agents[(i + k * 3) % agents.length] ?? '',
      state: i === 4 ? 'unreachable' : i === 6 ? 'waiting' : 'reachable',
      nat: i % 3 === 0,
      rtt_ms: i % 3 === 0 && i !== 4 && i !== 6 ? Math.round(r() * 400) / 10 : 0,
      source: `192.168.10.${20 + i}:${5060 + k}`,
      listener: 'sip-udp',
      registered_at: iso(now - Math.floor(r() * 3_000_000) - 20_000),
      expires_at: iso(now + 600_000 + Math.floor(r() * 3_000_000)),
    })),
  );
}

/** @param {string} number @param {number} [host] @returns {S['Party']} */
function party(number, host = 20) {
  return { number, name: people.find((p) => p[0] === number)?.[1] ?? '', source: `192.168.10.${host}:5060` };
}

/**
 * A leg of a call: how many packets came, how many of a hundred were lost on the
 * way from the phone and to it, and how.
 * @param {Partial<S['LegQuality']> & { from?: number, to?: number, points?: number }} over
 * @returns {S['LegQuality']}
 */
function leg({ from = 0, to = 0, points = 0, ...over }) {
  const packets = over.packets ?? 0;
  const score = (/** @type {number} */ loss) => (packets === 0 ? 0 : Math.max(1, Math.round((4.4 - loss / 7) * 10) / 10));
  const line = (/** @type {number} */ loss) => Array.from({ length: points }, (_, i) => Math.max(1, Math.round((score(loss) - (loss > 0 && i % 5 === 3 ? loss / 8 : 0)) * 10) / 10));
  return {
    codec: packets === 0 ? '' : 'PCMA', suite: '', lost: Math.round((packets * from) / 100), jitter_ms: packets === 0 ? 0 : 1.4,
    mos: score(from), worst_mos: Math.max(0, score(from) - from / 10), sent: packets, reported: packets > 0, to_lost: Math.round((packets * to) / 100), to_jitter_ms: packets === 0 ? 0 : 2.2,
    to_mos: score(to), to_worst_mos: Math.max(0, score(to) - to / 10), rtt_ms: packets === 0 ? 0 : 23.5, dropped: 0, malformed: 0, forged: 0,
    history: { step_seconds: 5, from: line(from), to: line(to) }, ...over, packets,
  };
}

/** @param {string} dialled @returns {S['CallRoute']} */
const within = (dialled) => ({ dialled, sent: '', caller_id: '', did: '', in_trunk: 0, out_trunk: 0, class: '', account: '', emergency: false });

/** @param {number} now @returns {S['Call'][]} */
export function calls(now) {
  return [
    { id: 'c-3', direction: 'internal', route: within('105'), state: 'ringing', caller: party('102', 21), callee: party('105', 24), started_at: iso(now - 6_000), caller_leg: leg({}), callee_leg: leg({}), alarm: '' },
    { id: 'c-2', direction: 'internal', route: within('103'), state: 'connected', caller: party('101'), callee: party('103', 22), started_at: iso(now - 140_000), answered_at: iso(now - 134_000),
      caller_leg: leg({ packets: 6_700, points: 26, codec: 'OPUS', suite: 'AEAD_AES_256_GCM' }), callee_leg: leg({ packets: 6_700, points: 26, suite: 'AES_256_CM_HMAC_SHA1_80', to: 2 }), alarm: '' },
    { id: 'c-1', direction: 'internal', route: within('109'), state: 'held', caller: party('106', 25), callee: party('109', 28), started_at: iso(now - 1_290_000), answered_at: iso(now - 1_281_000),
      caller_leg: leg({ packets: 64_000, points: 43 }), callee_leg: leg({ packets: 60_100, points: 43, from: 14 }), alarm: 'bad_quality' },
  ];
}

/** @param {number} now @param {number} n @returns {S['CallRecord'][]} */
export function records(now, n = 340) {
  const r = random(11);
  const ends = ['caller_hung_up', 'callee_hung_up', 'caller_hung_up', 'callee_hung_up', 'caller_hung_up', 'no_answer', 'busy', 'cancelled', 'unavailable', 'media_timeout'];
  let at = now - 240_000;
  return Array.from({ length: n }, (_, i) => {
    // Office hours are busier than the night.
    const hour = new Date(at).getUTCHours();
    at -= Math.floor(r() * (hour > 7 && hour < 18 ? 700_000 : 3_400_000)) + 30_000;
    const a = Math.floor(r() * 11);
    const b = (a + 1 + Math.floor(r() * 10)) % 11;
    const reason = ends[Math.floor(r() * ends.length)] ?? 'failed';
    const answered = reason.endsWith('hung_up') || reason === 'media_timeout';
    const rang = at + 400;
    const answer = rang + 2000 + Math.floor(r() * 9000);
    const end = answered ? answer + 8000 + Math.floor(r() * r() * 900_000) : rang + 20_000;
    const packets = answered ? Math.floor((end - answer) / 20) : 0;
    const points = Math.min(60, Math.ceil(packets / 250));
    const suite = i % 3 === 0 ? 'AEAD_AES_256_GCM' : '';
    const loss = i % 5 === 1 ? 11 : Math.floor(r() * 3) / 2;
    return {
      id: `${(now - i).toString(36)}-${i}`, direction: 'internal', route: within(people[b]?.[0] ?? ''), ended_by: reason === 'callee_hung_up' ? 'callee' : answered ? 'caller' : '', caller: party(people[a]?.[0] ?? '', 20 + a), callee: party(people[b]?.[0] ?? '', 20 + b),
      started_at: iso(at), rang_at: reason === 'unavailable' ? undefined : iso(rang), answered_at: answered ? iso(answer) : undefined, ended_at: iso(end),
      duration_seconds: answered ? (end - answer) / 1000 : 0, end_reason: reason, status_code: answered ? 200 : reason === 'busy' ? 486 : reason === 'cancelled' ? 487 : 480,
      caller_leg: leg({ packets, points, suite, from: loss }), callee_leg: leg({ packets, points, suite: i % 2 === 0 ? suite : '' }), alarm: packets > 750 && loss > 10 ? 'bad_quality' : '', forwarded_by: [], transferred_by: '', previous_id: '', next_id: '',
    };
  });
}

/** @param {string} id @returns {S['CallTrace']} */
export function trace(id) {
  const phone = '192.168.10.20:5060';
  const step = (/** @type {number} */ ms, /** @type {boolean} */ sent, /** @type {string} */ summary) => ({
    at: iso(Date.UTC(2026, 0, 5, 9) + ms), from: sent ? 'pbx' : phone, to: sent ? phone : 'pbx', transport: 'UDP', summary,
    text: `${summary} SIP/2.0\r\nCall-ID: ${id}\r\nProxy-Authorization: Digest response="********"\r\n\r\n`,
  });
  return { call_id: id, lanes: ['pbx', phone], cut: false, steps: [step(0, false, 'INVITE sip:102@a.test'), step(2, true, '407 Proxy Authentication Required (INVITE)')] };
}

/** @returns {S['Port'][]} */
export function ports() {
  /** @type {[string, string, S['Port']['side'], S['Port']['proto'], number, number, string, boolean, S['Port']['state'], string[], number][]} */
  const rows = [
    ['portal', 'Web portal and REST API', 'core', 'tcp', 8887, 8887, 'https', true, 'open', ['management', 'wan'], 41_233],
    ['provisioning', 'Phone provisioning', 'core', 'tcp', 8888, 8888, 'http', false, 'unavailable', ['voice'], 0],
    ['wallboard', 'Queue wallboard', 'core', 'tcp', 8889, 8889, 'https', false, 'unavailable', ['voice', 'management'], 0],
    ['webphone', 'Web phone', 'edge', 'tcp', 10443, 10443, 'https', true, 'unavailable', ['voice', 'management', 'wan'], 0],
    ['sbc-portal', 'SBC portal', 'edge', 'tcp', 8883, 8883, 'https', false, 'unavailable', ['management'], 0],
    ['rtp-core', 'RTP of the PBX', 'core', 'udp', 45000, 64999, 'rtp', true, 'open', ['voice', 'wan', 'trunk'], 18_203_441],
    ['rtp-edge', 'RTP of the SBC', 'edge', 'udp', 25000, 34999, 'rtp', true, 'unavailable', ['voice', 'wan', 'trunk'], 0],
    ['sip-udp', 'SIP over UDP', 'core', 'udp', 5060, 5060, 'sip', true, 'open', ['voice', 'wan', 'trunk'], 91_112],
    ['sip-tls', 'SIP over TLS', 'core', 'tcp', 5061, 5061, 'sip over tls', false, 'closed', ['voice', 'wan', 'trunk'], 0],
    ['sip-tcp', 'SIP over TCP', 'core', 'tcp', 5063, 5063, 'sip', false, 'closed', ['voice', 'wan', 'trunk'], 0],
    ['ssh', 'Operator shell', 'host', 'tcp', 10210, 10210, 'ssh', false, 'unavailable', ['management'], 0],
  ];
  return rows.map(([id, name, side, proto, first, last, speaks, default_on, state, zones, packets]) => ({
    id, name, side, proto, first, last, speaks, default_on, state, zones, packets, bytes: packets * 214, rows: [], error: '', doc: `${name}.`, enabled: state === 'open', sources: [],
  }));
}

/** @returns {S['Transport'][]} */
export function transports() {
  return [
    { id: 'sip-udp', name: 'SIP over UDP', side: 'core', protocol: 'udp', port: 5060, state: 'listening', error: '', digest: 'default' },
    { id: 'sip-tls', name: 'SIP over TLS', side: 'core', protocol: 'tls', port: 5061, state: 'error', error: 'binding tcp4 0.0.0.0:5061: address already in use', digest: 'sha256' },
    { id: 'edge-wss', name: 'SIP over WSS on the SBC', side: 'edge', protocol: 'wss', port: 5065, state: 'listening', error: '', digest: 'default' },
  ];
}

/** @returns {S['CallRules']} */
export function callRules() {
  return { media_security: 'offer', session_timers: 'accept', session_expires_seconds: 1800, session_min_seconds: 90, dead_media_seconds: 600, tones: 'ITU', music_on_hold: 'pbx' };
}

/** @returns {S['Addresses']} */
export function addresses() {
  return {
    public_address: '', public_addresses: [], advertise_always: false,
    inside_networks: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7'],
    cloud: [],
    detected: [
      { address: '192.168.10.2', interface: 'eth0', inside: true, outgoing: true },
      { address: '10.40.0.2', interface: 'eth1', inside: true, outgoing: false },
    ],
  };
}

/** @param {number} now @returns {S['Ban'][]} */
export function bans(now) {
  const at = (/** @type {number} */ minutes) => new Date(now + minutes * 60_000).toISOString();
  return [
    { source: '203.0.113.66', scope: 'sip', reason: 'wrong passwords', user_agent: 'friendly-scanner', target: '1001', count: 50, since: at(-3), until: at(57), level: 0, port: '', dropped: 0 },
    { source: '2001:db8:7:8::', scope: 'sip', reason: 'names tried one after another', user_agent: '<img src=x onerror=alert(1)>', target: '9011', count: 60, since: at(-20), until: at(40), level: 0, port: '', dropped: 0 },
    { source: '198.51.100.23', scope: 'web', reason: 'failed log-ins', user_agent: '', target: '', count: 0, since: at(-50), until: at(10), level: 0, port: '', dropped: 0 },
    { source: '192.0.2.200', scope: 'sip', reason: 'level 1: more than 500 packets per second', user_agent: '', target: '', count: 500, since: at(-0.1), until: at(0.4), level: 1, port: 'udp 5060', dropped: 4811 },
  ];
}

/** @param {number} now @returns {S['Attack'][]} */
export function attacks(now) {
  return [
    ...bans(now).map((b, i) => ({ id: 100 - i, at: b.since ?? new Date(now).toISOString(), source: b.source, scope: b.scope, reason: b.reason, level: b.level, port: b.port, user_agent: b.user_agent, target: b.target, count: b.count, until: b.until })),
    { id: 41, at: new Date(now - 7_300_000).toISOString(), source: '45.134.144.9', scope: 'sip', reason: 'level 2: more than 2000 packets per second', level: 2, port: 'udp 5060', user_agent: '', target: '', count: 2000, until: new Date(now - 3_700_000).toISOString() },
    { id: 40, at: new Date(now - 9_300_000).toISOString(), source: '45.134.144.9', scope: 'sip', reason: 'attack tool', level: 0, port: '', user_agent: 'sipvicious', target: '100', count: 1, until: new Date(now - 5_700_000).toISOString() },
  ];
}

/** @param {number} now @param {string} range @returns {S['PacketHistory']} */
export function packetHistory(now, range) {
  const step = { '1h': 10, '24h': 300, '30d': 3600 }[range] ?? 10;
  const n = { '1h': 360, '24h': 288, '30d': 720 }[range] ?? 360;
  const first = Math.floor(now / 1000 / step) * step - (n - 1) * step;
  const times = Array.from({ length: n }, (_, i) => first + i * step);
  const known = times.map((_, i) => i / n < 0.3 || i / n > 0.36);
  const line = (/** @type {string} */ name, /** @type {(x: number) => number} */ f) => {
    const values = times.map((_, i) => (known[i] ? Math.max(0, Math.round(f(i / n) * 10) / 10) : 0));
    return { name, values, total: Math.round(values.reduce((a, b) => a + b, 0) * step) };
  };
  const noise = (/** @type {number} */ x) => Math.abs(Math.sin(x * 900)) * 6;
  return {
    step_seconds: step,
    times,
    known,
    drops: [line('ban_sip', (x) => (x > 0.55 && x < 0.8 ? 900 * (0.8 - x) + noise(x) : 0)), line('level1_sip', (x) => (x > 0.54 && x < 0.57 ? 300 : 0)), line('rest', (x) => 20 + noise(x)), line('block', (x) => (x > 0.7 ? 15 : 0)), line('tool', (x) => (x > 0.4 && x < 0.5 ? 12 : 0)), line('icmp', () => 1)],
    ports: [line('portal', () => 0.4), line('sip-udp', () => 14)],
  };
}

/** @param {number} now @returns {S['AddressRule'][]} */
export function addressRules(now) {
  const created_at = new Date(now - 86_400_000).toISOString();
  return [
    { network: '41.202.0.0/16', first: '41.202.0.0', last: '41.202.255.255', action: 'block', note: 'only attacks come from there', expires_at: null, created_at, created_by: 'admin' },
    { network: '198.51.100.7', first: '198.51.100.7', last: '198.51.100.7', action: 'allow', note: 'branch office', expires_at: new Date(now + 7 * 86_400_000).toISOString(), created_at, created_by: 'admin' },
  ];
}

/** @returns {S['SSH']} */
export function ssh() {
  return { enabled: false, state: 'off', port: 10210, user: 'operator', zones: ['management', 'voice'], host_key: 'SHA256:Qm1nZ3l2b3Jta2V5Zm9ydGhlcGFnZXMxMjM0NTY3OA', sessions: 0, refused: 12, keys: [] };
}

/** @returns {S['Protection']} */
export function protection() {
  return {
    detect: true, period_seconds: 10, ban_seconds: 3600, wrong_answers: 50, unanswered: 1000, names: 60, malformed: 100, calls: 60, unknown_numbers: 60,
    user_agents: ['friendly-scanner', 'pplsip', 'sipcli', 'sipvicious', 'VaxSIPUserAgent'], session_names: ['portsip.com'], ban_tools: false, silent_invite: false,
    level1: 500, level1_ban_seconds: 30, level2: 2000, level2_ban_seconds: 3600,
  };
}

/** @returns {S['Network']} */
export function network() {
  const off = { name: '', mac: '', vlan: 0, link: '', zone: /** @type {''} */ (''), dhcp4: false, dhcp6: false, accept_ra: false, no_default_route: false, metric: 0, addresses: [], routes: [], nameservers: [], search: [], mtu: 0 };
  return {
    managed: true, standard: false, error: '',
    interfaces: [
      {
        name: 'eth0', mac: '52:54:00:12:34:56', vlan: 0, link: '', up: true, carrier: true, mtu: 1460, managed: true, error: '',
        addresses: ['192.168.10.2/24', 'fe80::5054:ff:fe12:3456/64'], gateways: ['192.168.10.1'],
        lease: { address: '192.168.10.2/24', server: '192.168.10.1', expires_at: '2031-05-01T10:00:00Z', nameservers: ['192.168.10.1'] },
      },
      { name: 'eth1', mac: '52:54:00:12:34:57', vlan: 0, link: '', up: false, carrier: false, mtu: 1500, managed: false, error: '', addresses: [], gateways: [] },
      { name: 'eth0.20', mac: '52:54:00:12:34:56', vlan: 20, link: 'eth0', up: true, carrier: true, mtu: 1460, managed: true, error: '', addresses: ['10.40.0.2/24'], gateways: [] },
    ],
    ntp: [],
    settings: [
      { ...off, name: 'eth0', dhcp4: true, accept_ra: true },
      { ...off, vlan: 20, link: 'eth0', zone: 'voice', addresses: ['10.40.0.2/24'] },
    ],
  };
}

/** @param {number} now @returns {S['AuditEntry'][]} */
export function audit(now) {
  const actions = [
    ['extension.put', '104'], ['extension.create', '112'], ['session.login', 'ada'], ['extension.sip_password', '103'],
    ['extension.delete', '199'], ['settings.put', ''], ['extension.sip_password_read', '101'], ['update', ''],
  ];
  return Array.from({ length: 60 }, (_, i) => {
    const [action = '', object = ''] = actions[i % actions.length] ?? [];
    return { id: 60 - i, at: iso(now - i * 5_400_000 - 60_000), actor: i % 5 === 4 ? 'pbxd' : 'ada', kind: i % 5 === 4 ? 'system' : 'user', address: i % 5 === 4 ? '' : '192.168.10.7', action, object, rev: 60 - i };
  });
}

/** A picture that looks like a QR code of version 4; it says nothing. */
export function qrPNG() {
  const size = 33;
  const quiet = 4;
  const side = size + 2 * quiet;
  const r = random(5);
  const finder = (/** @type {number} */ x, /** @type {number} */ y) => {
    for (const [fx, fy] of [[0, 0], [size - 7, 0], [0, size - 7]]) {
      const dx = x - (fx ?? 0);
      const dy = y - (fy ?? 0);
      if (dx < -1 || dx > 7 || dy < -1 || dy > 7) continue;
      const ring = Math.max(Math.abs(dx - 3), Math.abs(dy - 3));
      return ring === 3 || ring < 2;
    }
    return undefined;
  };
  const rows = Buffer.alloc(side * (side + 1), 255);
  for (let y = 0; y < side; y++) {
    rows[y * (side + 1)] = 0;
    for (let x = 0; x < side; x++) {
      const inside = x >= quiet && y >= quiet && x < side - quiet && y < side - quiet;
      if (inside && (finder(x - quiet, y - quiet) ?? r() < 0.5)) rows[y * (side + 1) + 1 + x] = 0;
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  header[8] = 8;
  const png = Buffer.concat([Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]), chunk('IHDR', header), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]);
  return `data:image/png;base64,${png.toString('base64')}`;
}

/** @param {string} type @param {Buffer} body */
function chunk(type, body) {
  const text = Buffer.concat([Buffer.from(type), body]);
  const out = Buffer.alloc(text.length + 8);
  out.writeUInt32BE(body.length, 0);
  text.copy(out, 4);
  out.writeUInt32BE(checksum(text), text.length + 4);
  return out;
}

/** CRC-32 as PNG has it. @param {Buffer} bytes */
function checksum(bytes) {
  let c = 0xffffffff;
  for (const b of bytes) {
    c ^= b;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  }
  return (c ^ 0xffffffff) >>> 0;
}

/** @returns {S['SignIn']} */
export function signIn() {
  return { passwords: { mode: 'rules', min: 8, max: 32, letter: true, digit: true, upper_or_special: true, no_sequence: true, no_repeat: true, no_account: true }, second_factor: 'administrators' };
}

/** @returns {S['PersonSession'][]} */
export function sessions() {
  const at = (/** @type {number} */ minutes) => new Date(Date.now() - minutes * 60_000).toISOString();
  return [
    { id: '0011223344556677', address: '192.168.10.20', browser: 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36', since: at(55), seen: at(0), own: true },
    { id: '8899aabbccddeeff', address: '2001:db8:4f::21', browser: 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1', since: at(600), seen: at(12), own: false },
    { id: '0123456789abcdef', address: '192.168.10.31', browser: 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0', since: at(300), seen: at(29), own: false },
  ];
}

/** @returns {S['TOTPEnrolment']} */
export function enrolment() {
  const secret = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ';
  return { secret, uri: `otpauth://totp/Ringfence:ada?secret=${secret}&issuer=Ringfence`, qr: qrPNG() };
}

export function recoveryCodes() {
  return Array.from({ length: 10 }, (_, i) => `kq7${'abcdefghjk'[i]}-m2xw-zzr4-9tb${'abcdefghjk'[i]}`);
}

export const inviteToken = 'aW52aXRhdGlvbi1vZi1hLXVzZXItb2YtdGhlLW1vY2s';
