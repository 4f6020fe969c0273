import { expect, it } from 'vitest';
import type { NetworkInterface, NetworkPort } from '../shared/api';
import { entryOf, fits, newOrigins, newVLAN, placeOf, rowsOf } from './network';

const port = (p: Partial<NetworkPort>): NetworkPort => ({
  name: 'eth0', mac: '52:54:00:00:00:01', vlan: 0, link: '', up: true, carrier: true, mtu: 1500, managed: true, addresses: [], gateways: [], error: '', ...p,
});
const entry = (e: Partial<NetworkInterface>): NetworkInterface => ({
  name: '', mac: '', vlan: 0, link: '', zone: '', dhcp4: false, dhcp6: false, accept_ra: false, no_default_route: false,
  metric: 0, addresses: [], routes: [], nameservers: [], search: [], mtu: 0, limit: 0, ...e,
});

it('finds the entry of an interface as the server does', () => {
  expect(fits(entry({}), port({}))).toBe(true);
  expect(fits(entry({ name: 'e*' }), port({}))).toBe(true);
  expect(fits(entry({ name: 'eth1' }), port({}))).toBe(false);
  expect(fits(entry({ mac: '52:54:00:00:00:02' }), port({}))).toBe(false);
  expect(fits(entry({}), port({ name: 'eth0.20', vlan: 20, link: 'eth0' }))).toBe(false);
  expect(fits(entry({ vlan: 20, link: 'eth0' }), port({ name: 'voice', vlan: 20, link: 'eth0' }))).toBe(true);
});

it('makes one entry for all into one each, and leaves out what is not used', () => {
  const rows = rowsOf([entry({ name: 'eth0*', dhcp4: true })], [port({}), port({ name: 'usb0', mac: '52:54:00:00:00:09' })]);
  expect(rows.map((r) => [r.port, r.name, r.use, r.dhcp4])).toEqual([['eth0', 'eth0', true, true], ['usb0', 'usb0', false, false]]);
});

it('keeps what it is given, there and back', () => {
  const settings = [
    entry({ mac: '52:54:00:00:00:01', addresses: ['192.0.2.10/24', '2001:db8::10/64'], nameservers: ['192.0.2.53'], search: ['a.example'], mtu: 1400, metric: 7,
      routes: [{ to: '::/0', via: 'fe80::1', metric: 0 }, { to: '0.0.0.0/0', via: '192.0.2.1', metric: 0 }, { to: '10.0.0.0/8', via: '192.0.2.9', metric: 5 }] }),
    entry({ vlan: 20, link: 'eth0', zone: 'voice', limit: 20_000, dhcp4: true, accept_ra: true }),
  ];
  const rows = rowsOf(settings, [port({})]);
  expect(rows.map((r) => r.port)).toEqual(['eth0', '']);
  expect(rows[0]).toMatchObject({ gateway4: '192.0.2.1', gateway6: 'fe80::1', routes: '10.0.0.0/8 via 192.0.2.9 metric 5' });
  expect(rows.map(entryOf)).toEqual(settings);
});

it('puts a refused field where it was typed', () => {
  const rows = [{ ...newVLAN('eth0'), use: false }, { ...newVLAN('eth0'), gateway4: '10.0.0.1', routes: '10.1.0.0/16 via x' }];
  expect(placeOf(rows, 'interfaces.0.addresses.1')).toBe('rows.1.addresses');
  expect(placeOf(rows, 'interfaces.0.routes.0.via')).toBe('rows.1.gateway4');
  expect(placeOf(rows, 'interfaces.0.routes.1.via')).toBe('rows.1.routes');
  expect(placeOf(rows, 'interfaces')).toBe('interfaces');
  expect(placeOf(rows, 'ntp.1')).toBe('ntp');
});

it('tells where the box will be', () => {
  const rows = [{ ...newVLAN('eth0'), addresses: '10.88.0.1/24\nfd00::1/64' }, { ...newVLAN('eth0'), addresses: '10.9.9.9/24', zone: 'trunk' as const }];
  expect(newOrigins(rows, new URL('https://192.0.2.1:8887/network'))).toEqual(['https://10.88.0.1:8887', 'https://[fd00::1]:8887']);
});
