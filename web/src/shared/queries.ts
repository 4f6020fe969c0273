import { QueryClient, queryOptions } from '@tanstack/react-query';
import { client, heldTenant, holdSessionToken, holdTenant, take, type Session } from './api';
import { Problem } from './problems';

/** Live lists are asked again this often while the event stream is away. */
export const pollMs = 4000;

export function newQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        // The event stream says when something changed; this is for what it missed.
        staleTime: 15_000,
        retry: (failures, error) => failures < 2 && error instanceof Problem && (error.status === 0 || error.status >= 500),
        refetchOnWindowFocus: true,
      },
      mutations: { retry: false },
    },
  });
}

export const sessionQuery = queryOptions({
  queryKey: ['session'],
  queryFn: async () => {
    const session = await take(client.GET('/api/v1/session')).catch((thrown: unknown) => {
      // The organisation somebody worked in may be gone; without one it is the first.
      if (!(thrown instanceof Problem && thrown.status === 404 && heldTenant() !== '')) throw thrown;
      holdTenant('');
      return take(client.GET('/api/v1/session'));
    });
    holdSessionToken(session.csrf_token);
    return session;
  },
  staleTime: 5 * 60_000,
});

/** Takes over a session that an answer brought (log-in, password change). */
export function keepSession(queries: QueryClient, session: Session): void {
  holdSessionToken(session.csrf_token);
  if (heldTenant() !== String(session.tenant.id)) holdTenant('');
  queries.setQueryData(sessionQuery.queryKey, session);
}

/** What a new password of one's own must be like. */
export const passwordPolicyQuery = queryOptions({
  queryKey: ['password-policy'],
  queryFn: () => take(client.GET('/api/v1/session/password-policy')),
});

export const secondFactorQuery = queryOptions({
  queryKey: ['second-factor'],
  queryFn: () => take(client.GET('/api/v1/session/second-factor')),
});

export const sessionsQuery = queryOptions({
  queryKey: ['sessions'],
  queryFn: () => take(client.GET('/api/v1/sessions')),
});

export const tokensQuery = queryOptions({
  queryKey: ['tokens'],
  queryFn: () => take(client.GET('/api/v1/tokens')),
});

export const signInQuery = queryOptions({
  queryKey: ['sign-in'],
  queryFn: () => take(client.GET('/api/v1/sign-in')),
});

export const ssoQuery = queryOptions({
  queryKey: ['sso'],
  queryFn: () => take(client.GET('/api/v1/sign-in/sso')),
});

export const boxSignInQuery = queryOptions({
  queryKey: ['box-sign-in'],
  queryFn: () => take(client.GET('/api/v1/box/sign-in')),
});

export const statusQuery = queryOptions({
  queryKey: ['status'],
  queryFn: () => take(client.GET('/api/v1/status')),
});

export const extensionsQuery = queryOptions({
  queryKey: ['extensions'],
  queryFn: () => take(client.GET('/api/v1/extensions', { params: { query: { limit: 10000 } } })),
});

export const tenantsQuery = queryOptions({
  queryKey: ['tenants'],
  queryFn: () => take(client.GET('/api/v1/tenants')),
});

/** A page of users, by part of a name. */
export const usersQuery = (search: string) =>
  queryOptions({
    queryKey: ['users', search],
    queryFn: () => take(client.GET('/api/v1/users', { params: { query: { limit: 1000, search } } })),
    placeholderData: (before) => before,
  });

export const rolesQuery = queryOptions({
  queryKey: ['roles'],
  queryFn: () => take(client.GET('/api/v1/roles')),
});

export const groupsQuery = queryOptions({
  queryKey: ['groups'],
  queryFn: () => take(client.GET('/api/v1/groups')),
});

export const ownQuery = queryOptions({
  queryKey: ['own'],
  queryFn: () => take(client.GET('/api/v1/own')),
});

export const ownRegistrationsQuery = queryOptions({
  queryKey: ['own-registrations'],
  queryFn: () => take(client.GET('/api/v1/own/registrations')),
  refetchInterval: 15_000,
});

export const tenantQuery = queryOptions({
  queryKey: ['tenant'],
  queryFn: () => take(client.GET('/api/v1/tenant')),
});

export const registrationsQuery = queryOptions({
  queryKey: ['registrations'],
  queryFn: () => take(client.GET('/api/v1/registrations')),
});

export const callsQuery = queryOptions({
  queryKey: ['calls'],
  queryFn: () => take(client.GET('/api/v1/calls')),
});

/** The newest call records: what the overview and its chart draw from. */
export const recentRecordsQuery = queryOptions({
  queryKey: ['cdrs', 'recent'],
  queryFn: () => take(client.GET('/api/v1/cdrs', { params: { query: { limit: 500 } } })),
});

export const portsQuery = queryOptions({
  queryKey: ['ports'],
  queryFn: () => take(client.GET('/api/v1/ports')),
});

export const transportsQuery = queryOptions({
  queryKey: ['transports'],
  queryFn: () => take(client.GET('/api/v1/transports')),
});

export const clientCertificatesQuery = queryOptions({
  queryKey: ['client-certificates'],
  queryFn: () => take(client.GET('/api/v1/client-certificates')),
});

export const certificatesQuery = queryOptions({
  queryKey: ['certificates'],
  queryFn: () => take(client.GET('/api/v1/certificates')),
});

export const acmeQuery = queryOptions({
  queryKey: ['acme'],
  queryFn: () => take(client.GET('/api/v1/acme')),
});

export const sshQuery = queryOptions({
  queryKey: ['ssh'],
  queryFn: () => take(client.GET('/api/v1/ssh')),
});

export const networkQuery = queryOptions({
  queryKey: ['network'],
  queryFn: () => take(client.GET('/api/v1/network')),
});

export const addressesQuery = queryOptions({
  queryKey: ['addresses'],
  queryFn: () => take(client.GET('/api/v1/addresses')),
});

export const protectionQuery = queryOptions({
  queryKey: ['protection'],
  queryFn: () => take(client.GET('/api/v1/security/protection')),
});

export const portFilterQuery = queryOptions({
  queryKey: ['port-filter'],
  queryFn: () => take(client.GET('/api/v1/security/filter')),
});

/** Bans of the own address: for everybody who is logged in. */
export const ownBansQuery = queryOptions({
  queryKey: ['own-bans'],
  queryFn: () => take(client.GET('/api/v1/session/bans')),
  refetchInterval: 30_000,
});

export const bansQuery = queryOptions({
  queryKey: ['bans'],
  queryFn: () => take(client.GET('/api/v1/security/bans')),
  refetchInterval: 5000,
});

/** The newest entries of the journal of attacks. */
export const attacksQuery = queryOptions({
  queryKey: ['attacks'],
  queryFn: () => take(client.GET('/api/v1/security/attacks', { params: { query: { limit: 500 } } })),
  refetchInterval: 30_000,
});

export const attackSummaryQuery = queryOptions({
  queryKey: ['attack-summary'],
  queryFn: () => take(client.GET('/api/v1/security/summary')),
  refetchInterval: 5000,
});

export type HistoryRange = '1h' | '24h' | '30d';

export const packetHistoryQuery = (range: HistoryRange) =>
  queryOptions({
    queryKey: ['packet-history', range],
    queryFn: () => take(client.GET('/api/v1/security/history', { params: { query: { range } } })),
    refetchInterval: range === '1h' ? 10_000 : 60_000,
    placeholderData: (before) => before,
  });

export const addressRulesQuery = queryOptions({
  queryKey: ['address-rules'],
  queryFn: () => take(client.GET('/api/v1/security/addresses', { params: { query: { limit: 1000 } } })),
});

export function provisioningQuery(number: string) {
  return queryOptions({
    queryKey: ['provisioning', number],
    queryFn: () => take(client.GET('/api/v1/extensions/{number}/provisioning', { params: { path: { number } } })),
    // Whoever knows the address can register: it does not stay in memory.
    gcTime: 0,
    staleTime: 0,
  });
}
