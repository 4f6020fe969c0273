import type { QueryClient } from '@tanstack/react-query';
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  redirect,
} from '@tanstack/react-router';
import type { Session } from '../shared/api';
import { asProblem } from '../shared/problems';
import { sessionQuery } from '../shared/queries';
import { NotFound, Unreachable, Waiting } from './Fallbacks';
import { localPath } from './paths';
import { mayOpen } from './roles';

interface Context {
  queries: QueryClient;
}

const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined);

const root = createRootRouteWithContext<Context>()({ component: Outlet, notFoundComponent: NotFound });

const setup = createRoute({
  getParentRoute: () => root,
  path: '/setup',
  component: lazyRouteComponent(() => import('../setup/Wizard'), 'Wizard'),
});

const login = createRoute({
  getParentRoute: () => root,
  path: '/login',
  validateSearch: (s: Record<string, unknown>): { next?: string; reason?: string } => ({
    next: localPath(text(s.next)),
    reason: text(s.reason),
  }),
  component: lazyRouteComponent(() => import('./pages/Login'), 'Login'),
});

/** Where a one-time link leads. */
const invite = createRoute({
  getParentRoute: () => root,
  path: '/invite',
  component: lazyRouteComponent(() => import('./pages/Invite'), 'Invite'),
});

/** Where a sign-in provider sends people back to. */
const sso = createRoute({
  getParentRoute: () => root,
  path: '/sso',
  component: lazyRouteComponent(() => import('./pages/SsoDone'), 'SsoDone'),
});

/** Everything behind it needs a session. */
const shell = createRoute({
  getParentRoute: () => root,
  id: 'shell',
  beforeLoad: ({ context, location }) => requireSession(context.queries, location.pathname, location.searchStr),
  component: lazyRouteComponent(() => import('./Shell'), 'Shell'),
});

const dashboard = createRoute({
  getParentRoute: () => shell,
  path: '/',
  component: lazyRouteComponent(() => import('./pages/Dashboard'), 'Dashboard'),
});

const extensions = createRoute({
  getParentRoute: () => shell,
  path: '/extensions',
  validateSearch: (s: Record<string, unknown>): { number?: string; create?: boolean } => ({
    // Numbers arrive as numbers from hand-written addresses.
    number: s.number === undefined ? undefined : String(s.number),
    create: s.create === true || undefined,
  }),
  component: lazyRouteComponent(() => import('./pages/Extensions'), 'Extensions'),
});

const users = createRoute({
  getParentRoute: () => shell,
  path: '/users',
  component: lazyRouteComponent(() => import('./pages/Users'), 'Users'),
});

const roles = createRoute({
  getParentRoute: () => shell,
  path: '/roles',
  component: lazyRouteComponent(() => import('./pages/Roles'), 'Roles'),
});

const groups = createRoute({
  getParentRoute: () => shell,
  path: '/groups',
  component: lazyRouteComponent(() => import('./pages/Groups'), 'Groups'),
});

const tenants = createRoute({
  getParentRoute: () => shell,
  path: '/tenants',
  component: lazyRouteComponent(() => import('./pages/Tenants'), 'Tenants'),
});

const own = createRoute({
  getParentRoute: () => shell,
  path: '/own',
  component: lazyRouteComponent(() => import('./pages/Own'), 'Own'),
});

const registrations = createRoute({
  getParentRoute: () => shell,
  path: '/registrations',
  component: lazyRouteComponent(() => import('./pages/Registrations'), 'Registrations'),
});

const phones = createRoute({
  getParentRoute: () => shell,
  path: '/phones',
  component: lazyRouteComponent(() => import('./pages/PhoneSettings'), 'PhoneSettings'),
});

const calls = createRoute({
  getParentRoute: () => shell,
  path: '/calls',
  component: lazyRouteComponent(() => import('./pages/Calls'), 'Calls'),
});

const cdrs = createRoute({
  getParentRoute: () => shell,
  path: '/cdrs',
  validateSearch: (s: Record<string, unknown>): { extension?: string } => ({
    extension: s.extension === undefined ? undefined : String(s.extension),
  }),
  component: lazyRouteComponent(() => import('./pages/CallRecords'), 'CallRecords'),
});

const trunks = createRoute({
  getParentRoute: () => shell,
  path: '/trunks',
  component: lazyRouteComponent(() => import('./pages/Trunks'), 'Trunks'),
});

const numbers = createRoute({
  getParentRoute: () => shell,
  path: '/numbers',
  component: lazyRouteComponent(() => import('./pages/Numbers'), 'Numbers'),
});

const outgoing = createRoute({
  getParentRoute: () => shell,
  path: '/outgoing',
  component: lazyRouteComponent(() => import('./pages/Outgoing'), 'Outgoing'),
});

const incoming = createRoute({
  getParentRoute: () => shell,
  path: '/incoming',
  component: lazyRouteComponent(() => import('./pages/Incoming'), 'Incoming'),
});

const hours = createRoute({
  getParentRoute: () => shell,
  path: '/hours',
  component: lazyRouteComponent(() => import('./pages/Hours'), 'Hours'),
});

const numbering = createRoute({
  getParentRoute: () => shell,
  path: '/numbering',
  component: lazyRouteComponent(() => import('./pages/Numbering'), 'Numbering'),
});

const rates = createRoute({
  getParentRoute: () => shell,
  path: '/rates',
  component: lazyRouteComponent(() => import('./pages/Rates'), 'Rates'),
});

const tryNumber = createRoute({
  getParentRoute: () => shell,
  path: '/try',
  component: lazyRouteComponent(() => import('./pages/TryNumber'), 'TryNumber'),
});

const ports = createRoute({
  getParentRoute: () => shell,
  path: '/ports',
  component: lazyRouteComponent(() => import('./pages/Ports'), 'Ports'),
});

const certificates = createRoute({
  getParentRoute: () => shell,
  path: '/certificates',
  component: lazyRouteComponent(() => import('./pages/Certificates'), 'Certificates'),
});

const transports = createRoute({
  getParentRoute: () => shell,
  path: '/transports',
  component: lazyRouteComponent(() => import('./pages/Transports'), 'Transports'),
});

const addresses = createRoute({
  getParentRoute: () => shell,
  path: '/addresses',
  component: lazyRouteComponent(() => import('./pages/Addresses'), 'Addresses'),
});

const security = createRoute({
  getParentRoute: () => shell,
  path: '/security',
  component: lazyRouteComponent(() => import('./pages/Security'), 'Security'),
});

const ssh = createRoute({
  getParentRoute: () => shell,
  path: '/ssh',
  component: lazyRouteComponent(() => import('./pages/SSH'), 'SSH'),
});

const network = createRoute({
  getParentRoute: () => shell,
  path: '/network',
  component: lazyRouteComponent(() => import('./pages/Network'), 'Network'),
});

/** Without a session: at the new address there is none yet. */
const confirmNetwork = createRoute({
  getParentRoute: () => root,
  path: '/confirm-network',
  component: lazyRouteComponent(() => import('./pages/ConfirmChange'), 'ConfirmNetwork'),
});

/** Without a session, for the same reason. */
const confirmSettings = createRoute({
  getParentRoute: () => root,
  path: '/confirm-settings',
  component: lazyRouteComponent(() => import('./pages/ConfirmChange'), 'ConfirmSettings'),
});

const signIn = createRoute({
  getParentRoute: () => shell,
  path: '/sign-in',
  component: lazyRouteComponent(() => import('./pages/SignIn'), 'SignIn'),
});

const configuration = createRoute({
  getParentRoute: () => shell,
  path: '/configuration',
  component: lazyRouteComponent(() => import('./pages/Configuration'), 'Configuration'),
});

const audit = createRoute({
  getParentRoute: () => shell,
  path: '/audit',
  component: lazyRouteComponent(() => import('./pages/Audit'), 'Audit'),
});

const account = createRoute({
  getParentRoute: () => shell,
  path: '/account',
  component: lazyRouteComponent(() => import('./pages/Account'), 'Account'),
});

const tree = root.addChildren([
  setup,
  login,
  invite,
  sso,
  confirmNetwork,
  confirmSettings,
  shell.addChildren([dashboard, users, roles, groups, tenants, own, extensions, registrations, phones, calls, cdrs, ports, transports, certificates, addresses, security, ssh, network, signIn, configuration, audit, account, trunks, numbers, outgoing, incoming, hours, numbering, rates, tryNumber]),
]);

async function requireSession(queries: QueryClient, path: string, search: string): Promise<void> {
  let session: Session;
  try {
    session = await queries.ensureQueryData(sessionQuery);
  } catch (thrown) {
    const { status } = asProblem(thrown);
    // Before set-up the box answers nothing but the wizard.
    if (status === 404) throw redirect({ to: '/setup' });
    if (status === 401) throw redirect({ to: '/login', search: { next: localPath(path === '/' ? undefined : path + search) } });
    throw thrown;
  }
  if (session.second_factor_owed) throw redirect({ to: '/login', search: { next: localPath(path === '/' ? undefined : path + search) } });
  if ((session.must_change_password || session.must_set_up_second_factor) && path !== '/account') throw redirect({ to: '/account' });
  if (!mayOpen(session, path)) throw redirect({ to: '/cdrs' });
}

export function newRouter(queries: QueryClient) {
  return createRouter({
    routeTree: tree,
    context: { queries },
    defaultPreload: 'intent',
    defaultPreloadStaleTime: 0,
    defaultPendingMs: 300,
    defaultPendingComponent: Waiting,
    defaultErrorComponent: Unreachable,
    scrollRestoration: true,
  });
}

declare module '@tanstack/react-router' {
  interface Register {
    router: ReturnType<typeof newRouter>;
  }
}
