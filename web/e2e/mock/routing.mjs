// Trunks, rules and hours of the mock.
const trunk = (/** @type {number} */ id, /** @type {object} */ fields) => ({
  id, name: '', kind: 'register', enabled: true, host: '', port: 0, transport: 'tls', outbound_proxy: '', interface: '', peers: [], peer_port: 0, user: '', auth_user: '',
  register_seconds: 600, options_seconds: 60, media_security: 'offer', dtmf: 'auto', max_calls: 0, dids: [], number_format: 'plus', caller_id: '', keep_caller_id: false,
  identity: 'from', trust_identity: false, dialled_in: 'uri', headers: [], caps: { money_hour: 0, money_day: 0, minutes_hour: 0, minutes_day: 0, calls_per_minute: 0 },
  password_set: true, rates: 2, ...fields,
});

const office = { from: 480, to: 720 };
const afternoon = { from: 780, to: 1020 };
const day = [office, afternoon];

/** What the portal may read of the outside world, by path. */
export const routing = {
  '/trunks': { next: '', items: [
    trunk(1, { name: 'City Telecom', kind: 'peer', host: 'sip.citytelecom.example', peers: ['192.0.2.16/28'], max_calls: 30, dids: [{ first: '+493012340', last: '+493012349' }], caller_id: '+493012340' }),
    trunk(2, { name: 'Backup line', host: 'voip.backup.example', user: '4930998877', transport: 'udp', max_calls: 2, dids: [{ first: '+4930998877' }] }),
    trunk(3, { name: 'Harbour branch', kind: 'accept', user: 'harbour-gw' }),
  ] },
  '/trunks/states': { items: [
    { trunk: 1, condition: 'up', since: '2026-03-02T06:14:00Z', reason: '', target: '192.0.2.17:5061', calls: 4, max_calls: 30, rtt_ms: 11 },
    { trunk: 2, condition: 'refused', since: '2026-03-02T08:02:00Z', reason: '403 Forbidden', target: '', calls: 0, max_calls: 2, rtt_ms: 0 },
    { trunk: 3, condition: 'down', since: '2026-03-02T05:40:00Z', reason: 'the gateway is not registered', target: '', calls: 0, max_calls: 0, rtt_ms: 0 },
  ] },
  '/dids': { next: '', items: [
    { first: '+493012340', last: '+493012349', trunk: 1, trunk_name: 'City Telecom', rule: 11, rule_name: 'Main number' },
    { first: '+4930998877', last: '+4930998877', trunk: 2, trunk_name: 'Backup line', rule: 0, rule_name: '' },
  ] },
  '/outbound-rules': { next: '', items: [
    { id: 7, name: 'Abroad', enabled: true, priority: 100, prefixes: ['00'], lengths: [], classes: ['international'], groups: [], roles: ['standard_international'], extensions: [], hours: 'Office', routes: [{ trunk: 1, strip: 0, prepend: '', caller_id: '' }], order: 'listed' },
    { id: 8, name: 'Everything else', enabled: true, priority: 1000, prefixes: [], lengths: [], classes: [], groups: [], roles: [], extensions: [], hours: '', routes: [{ trunk: 1, strip: 0, prepend: '', caller_id: '' }, { trunk: 2, strip: 0, prepend: '', caller_id: '' }], order: 'cheapest' },
    { id: 9, name: 'Fax room', enabled: false, priority: 50, prefixes: [], lengths: [], classes: [], groups: [], roles: [], extensions: [{ first: '140', last: '149' }], hours: '', routes: [{ trunk: 2, strip: 0, prepend: '', caller_id: '+4930998877' }], order: 'listed' },
  ] },
  '/inbound-rules': { next: '', items: [
    { id: 11, name: 'Main number', enabled: true, priority: 1000, trunks: [], dids: [{ first: '+493012340' }], caller: '', hours: 'Office', open: { kind: 'extension', number: '101', as: '' }, closed: { kind: 'number', number: '0170123456', as: '101' }, holiday: { kind: '', number: '', as: '' }, night: { kind: 'busy', number: '', as: '' } },
    { id: 12, name: 'Direct numbers', enabled: true, priority: 2000, trunks: [1], dids: [{ first: '+493012341', last: '+493012349' }], caller: '', hours: '', open: { kind: 'direct', number: '101', as: '' }, closed: { kind: '', number: '', as: '' }, holiday: { kind: '', number: '', as: '' }, night: { kind: '', number: '', as: '' } },
  ] },
  '/hours': { time_zone: 'Europe/Berlin', now: '2026-03-02T11:20:00+01:00', items: [
    { name: 'Office', week: [[], day, day, day, day, [office], []], holidays: [{ name: 'Christmas', month: 12, day: 25, year: 0 }, { name: 'Good Friday', month: 4, day: 3, year: 2026 }], state: 'open', holiday: '', next_change: '2026-03-02T12:00:00+01:00', next_state: 'closed' },
    { name: 'Shop', week: [[], [], ...Array.from({ length: 5 }, () => [{ from: 600, to: 1200 }])], holidays: [], state: 'closed', holiday: '', next_change: '2026-03-03T10:00:00+01:00', next_state: 'open' },
  ] },
  '/numbering': {
    country: 'DE', area_code: '30', outside: '0', allowed: ['43', '41'], disallowed: ['49900', '882'], emergency: [{ number: '777', name: 'Site guard' }], emergency_routes: [], emergency_notify: ['guard@example.org'],
    currency: 'EUR', night: 'auto', reject_anonymous: false, max_calls: 20, caps: { money_hour: 0, money_day: 50, minutes_hour: 0, minutes_day: 0, calls_per_minute: 0 },
  },
  '/dialplan/countries': { items: [
    { iso: 'AT', name: 'Austria', codes: ['43'], premium: false, planned: true, international: '00', national: '0', areas: true, emergency: ['112', '122', '133', '144'] },
    { iso: 'DE', name: 'Germany', codes: ['49'], premium: false, planned: true, international: '00', national: '0', areas: true, emergency: ['110', '112'] },
    { iso: 'CH', name: 'Switzerland', codes: ['41'], premium: false, planned: true, international: '00', national: '0', areas: true, emergency: ['112', '117', '118', '144'] },
  ] },
  '/groups': { items: [{ id: 5, name: 'Sales', members: ['101'] }] },
  '/trunks/1/rates': { currency: 'EUR', items: [
    { prefix: '49', name: 'Germany', connect: 0, minute: 0.009, first_seconds: 60, next_seconds: 1 },
    { prefix: '4915', name: 'Germany, mobile', connect: 0, minute: 0.069, first_seconds: 1, next_seconds: 1 },
  ] },
};

/** The answer of the dry run. */
export const dryRun = {
  outcome: 'outside', verdict: 'international call to +43123456 over 1 trunk(s)', class: 'international', country: 'AT', number: '+43123456', emergency: false,
  attempts: [{ trunk: 1, trunk_name: 'City Telecom', rule: 7, number: '+43123456', caller_id: '+493012340', minute_price: 21000 }],
  steps: [
    { topic: 'dialled', ok: true, text: '00043123456 begins with 0, for an outside line' },
    { topic: 'number', ok: true, text: 'is +43123456 in E.164' },
    { topic: 'class', ok: true, text: 'international, to Austria' },
    { topic: 'role', ok: true, text: 'standard_international may call international numbers' },
    { topic: 'country', ok: true, text: '43 is allowed' },
    { topic: 'rule', ok: false, rule: 9, name: 'Fax room', text: 'is switched off' },
    { topic: 'rule', ok: true, rule: 7, name: 'Abroad', text: 'matches' },
    { topic: 'trunk', ok: true, rule: 7, trunk: 1, name: 'City Telecom', text: 'is tried with +43123456' },
  ],
};
