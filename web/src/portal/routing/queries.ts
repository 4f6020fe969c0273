import { queryOptions } from '@tanstack/react-query';
import { client, take } from '../../shared/api';
import type { components } from '../../shared/schema';
import { pollMs } from '../../shared/queries';

type Schemas = components['schemas'];
export type Trunk = Required<Schemas['Trunk']>;
export type TrunkState = Schemas['TrunkState'];
export type OutboundRule = Required<Schemas['OutboundRule']>;
export type InboundRule = Required<Schemas['InboundRule']>;
export type Destination = Schemas['Destination'];
export type DID = Schemas['DID'];
export type HoursNow = Required<Omit<Schemas['HoursNow'], 'next_change' | 'next_state'>> & Pick<Schemas['HoursNow'], 'next_change' | 'next_state'>;
export type Numbering = Required<Schemas['Numbering']>;
export type Rate = Schemas['Rate'];
export type NumberRange = Schemas['NumberRange'];

const limit = { params: { query: { limit: 1000 } } };

// The API always sends every field; its document lets requests leave some out.
export const trunksQuery = queryOptions({
  queryKey: ['trunks'],
  queryFn: async () => (await take(client.GET('/api/v1/trunks', limit))).items as Trunk[],
});

export const trunkStatesQuery = queryOptions({
  queryKey: ['trunk-states'],
  queryFn: async () => (await take(client.GET('/api/v1/trunks/states'))).items,
  refetchInterval: pollMs,
});

export const didsQuery = queryOptions({
  queryKey: ['dids'],
  queryFn: async () => (await take(client.GET('/api/v1/dids', limit))).items,
});

export const outboundQuery = queryOptions({
  queryKey: ['outbound-rules'],
  queryFn: async () => (await take(client.GET('/api/v1/outbound-rules', limit))).items as OutboundRule[],
});

export const inboundQuery = queryOptions({
  queryKey: ['inbound-rules'],
  queryFn: async () => (await take(client.GET('/api/v1/inbound-rules', limit))).items as InboundRule[],
});

export const hoursQuery = queryOptions({
  queryKey: ['hours'],
  queryFn: () => take(client.GET('/api/v1/hours')),
  refetchInterval: 30_000,
});

export const numberingQuery = queryOptions({
  queryKey: ['numbering'],
  queryFn: async () => (await take(client.GET('/api/v1/numbering'))) as Numbering,
});

export const countriesQuery = queryOptions({
  queryKey: ['countries'],
  queryFn: async () => (await take(client.GET('/api/v1/dialplan/countries'))).items,
  staleTime: Infinity,
});

export const groupsQuery = queryOptions({
  queryKey: ['groups'],
  queryFn: async () => (await take(client.GET('/api/v1/groups'))).items,
});

export const ratesQuery = (trunk: number) =>
  queryOptions({
    queryKey: ['rates', trunk],
    queryFn: () => take(client.GET('/api/v1/trunks/{trunk}/rates', { params: { path: { trunk } } })),
  });
