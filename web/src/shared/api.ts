import createClient, { type Middleware } from 'openapi-fetch';
import { Problem, problemOf } from './problems';
import type { components, paths } from './schema';
import { noteServerTime } from './time';

type Schemas = components['schemas'];
export type Attack = Schemas['Attack'];
export type AttackSummary = Schemas['AttackSummary'];
export type PacketHistory = Schemas['PacketHistory'];
export type AddressCheck = Schemas['AddressCheck'];
export type AddressRule = Schemas['AddressRule'];
export type Addresses = Schemas['Addresses'];
export type Ban = Schemas['Ban'];
export type OwnBan = Schemas['OwnBan'];
export type Call = Schemas['Call'];
export type ConfigurationPlan = Schemas['ConfigurationPlan'];
export type ConfigurationRevision = Schemas['ConfigurationRevision'];
export type CallTrace = Schemas['CallTrace'];
export type CallRecord = Schemas['CallRecord'];
export type CallRules = Schemas['CallRules'];
export type ACME = Schemas['ACME'];
export type Certificate = Schemas['Certificate'];
export type NameReport = Schemas['NameReport'];
export type ClientCertificates = Schemas['ClientCertificates'];
export type SSH = Schemas['SSH'];
export type SSHKey = Schemas['SSHKey'];
export type Network = Schemas['Network'];
export type NetworkChange = Schemas['NetworkChange'];
export type NetworkInterface = Schemas['NetworkInterface'];
export type NetworkPort = Schemas['NetworkPort'];
export type LegQuality = Schemas['LegQuality'];
export type Extension = Schemas['Extension'];
export type Party = Schemas['Party'];
export type Protection = Schemas['Protection'];
export type Port = Schemas['Port'];
export type Registration = Schemas['Registration'];
export type SignIn = Schemas['SignIn'];
export type PersonSession = Schemas['PersonSession'];
export type SSO = Schemas['SSO'];
export type Token = Schemas['Token'];
export type Invited = Schemas['Invited'];
export type TOTPEnrolment = Schemas['TOTPEnrolment'];
export type Session = Schemas['Session'];
export type Setup = Schemas['Setup'];
export type SIPCredentials = Schemas['SIPCredentials'];
export type SettingsTrial = Schemas['SettingsTrial'];
export type Status = Schemas['Status'];
export type Tenant = Schemas['Tenant'];
export type Transport = Schemas['Transport'];
export type TenantRow = Schemas['TenantRow'];
export type User = Schemas['User'];
export type UserCreated = Schemas['UserCreated'];
export type Role = Schemas['Role'];
export type RoleList = Schemas['RoleList'];
export type Group = Schemas['Group'];
export type AuditEntry = Schemas['AuditEntry'];
export type Provisioning = Schemas['Provisioning'];

/** What the client keeps between requests; the cookie is the browser's business. */
interface Credentials {
  csrf: string;
  setupToken: string;
  /** Organisation that requests work in; empty is one's own. */
  tenant: string;
  /** Called when the server no longer knows the session. */
  onSignedOut: () => void;
  /** Called when a change waits to be confirmed. */
  onTrial: (trial: SettingsTrial) => void;
}

const held: Credentials = { csrf: '', setupToken: '', tenant: '', onSignedOut: () => {}, onTrial: () => {} };

/** Keeps the token that goes along with every change; empty forgets it. */
export function holdSessionToken(csrf: string): void {
  held.csrf = csrf;
}

/** Keeps the one-time token of the set-up wizard. */
export function holdSetupToken(token: string): void {
  held.setupToken = token;
}

const tenantKey = 'ringfence.tenant';

/** Works in another organisation, in this tab, until told otherwise; empty or 0 is one's own. */
export function holdTenant(id: string): void {
  held.tenant = id === '0' ? '' : id;
  if (typeof sessionStorage === 'undefined') return;
  if (held.tenant === '') sessionStorage.removeItem(tenantKey);
  else sessionStorage.setItem(tenantKey, held.tenant);
}

/** The organisation that requests work in, or empty. */
export function heldTenant(): string {
  return held.tenant;
}

if (typeof sessionStorage !== 'undefined') held.tenant = sessionStorage.getItem(tenantKey) ?? '';

export function onSignedOut(f: () => void): void {
  held.onSignedOut = f;
}

/** Tells of every change that waits to be confirmed, until the returned function is called. */
export function onTrial(f: (trial: SettingsTrial) => void): () => void {
  held.onTrial = f;
  return () => {
    if (held.onTrial === f) held.onTrial = () => {};
  };
}

const safe = new Set(['GET', 'HEAD', 'OPTIONS']);
// A 401 of these says that a password was wrong or nobody is logged in yet.
const answersForItself = ['/api/v1/login', '/api/v1/session', '/api/v1/session/second-factor'];

const guard: Middleware = {
  onRequest({ request, schemaPath }) {
    if (!safe.has(request.method) && held.csrf !== '') request.headers.set('X-CSRF-Token', held.csrf);
    if (held.tenant !== '') request.headers.set('Ringfence-Tenant', held.tenant);
    if (schemaPath.startsWith('/api/v1/setup') && held.setupToken !== '') {
      request.headers.set('X-Setup-Token', held.setupToken);
    }
    return request;
  },
  async onResponse({ request, response, schemaPath }) {
    noteServerTime(response.headers.get('Date'));
    if (response.ok && !safe.has(request.method) && response.headers.get('Content-Type')?.startsWith('application/json')) {
      const { trial } = ((await response.clone().json()) ?? {}) as { trial?: SettingsTrial };
      if (trial) held.onTrial(trial);
    }
    if (response.status === 401 && !answersForItself.includes(schemaPath)) held.onSignedOut();
  },
};

export const client = createClient<paths>({ credentials: 'same-origin', cache: 'no-store' });
client.use(guard);

/** The answer's data, or a thrown Problem that says what went wrong and what to do. */
export async function take<T>(answer: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  let got;
  try {
    got = await answer;
  } catch {
    throw new Problem(0);
  }
  if (!got.response.ok) throw problemOf(got.response, got.error);
  return got.data as T;
}
