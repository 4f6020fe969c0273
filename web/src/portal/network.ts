import type { NetworkInterface, NetworkPort } from '../shared/api';

/** One interface in the form: lists as text, the default routes as fields of their own. */
export interface Row {
  /** Kernel name of the interface that is there, or empty. */
  port: string;
  use: boolean;
  name: string;
  mac: string;
  vlan: number;
  link: string;
  zone: NetworkInterface['zone'];
  dhcp4: boolean;
  dhcp6: boolean;
  accept_ra: boolean;
  no_default_route: boolean;
  metric: number;
  mtu: number;
  limit: number;
  addresses: string;
  gateway4: string;
  gateway6: string;
  routes: string;
  nameservers: string;
  search: string;
}

/** The whole form; time servers as text. */
export interface NetworkForm {
  rows: Row[];
  ntp: string;
}

const every4 = '0.0.0.0/0';
const every6 = '::/0';

const unused: NetworkInterface = {
  name: '', mac: '', vlan: 0, link: '', zone: '', dhcp4: false, dhcp6: false, accept_ra: false, no_default_route: false,
  metric: 0, addresses: [], routes: [], nameservers: [], search: [], mtu: 0,
};

/** A VLAN that is not set up yet. */
export function newVLAN(link: string): Row {
  return { ...rowOf({ ...unused, link, dhcp4: true, accept_ra: true }, '', true), vlan: 1 };
}

/** Says whether an entry is for an interface, as the server decides it. */
export function fits(entry: NetworkInterface, port: NetworkPort): boolean {
  if (entry.vlan !== 0 || port.vlan !== 0) {
    return entry.vlan === port.vlan && (entry.link === port.link || entry.name === port.name || port.name === `${entry.link}.${entry.vlan}`);
  }
  if (entry.mac !== '' && entry.mac !== port.mac) return false;
  if (entry.name.endsWith('*')) return port.name.startsWith(entry.name.slice(0, -1));
  return entry.name === '' || entry.name === port.name;
}

function rowOf(entry: NetworkInterface, port: string, use: boolean): Row {
  const way = (to: string) => entry.routes.find((r) => r.to === to && r.metric === 0);
  const ways = [way(every4), way(every6)];
  return {
    port, use, name: entry.name, mac: entry.mac, vlan: entry.vlan, link: entry.link, zone: entry.zone,
    dhcp4: entry.dhcp4, dhcp6: entry.dhcp6, accept_ra: entry.accept_ra, no_default_route: entry.no_default_route, metric: entry.metric, mtu: entry.mtu, limit: entry.limit ?? 0,
    addresses: entry.addresses.join('\n'), gateway4: ways[0]?.via ?? '', gateway6: ways[1]?.via ?? '',
    routes: entry.routes.filter((r) => !ways.includes(r)).map((r) => `${r.to} via ${r.via}${r.metric === 0 ? '' : ` metric ${r.metric}`}`).join('\n'),
    nameservers: entry.nameservers.join('\n'), search: entry.search.join('\n'),
  };
}

/** The form's rows: what is in the machine first, then what is set and absent. An entry for several interfaces becomes one each. */
export function rowsOf(settings: readonly NetworkInterface[], ports: readonly NetworkPort[]): Row[] {
  const rows: Row[] = [];
  const taken = new Set<NetworkInterface>();
  for (const port of ports) {
    const entry = settings.find((s) => fits(s, port));
    if (entry) taken.add(entry);
    if (!entry && port.vlan !== 0) continue; // somebody else's
    const own = entry ?? unused;
    const many = own.vlan === 0 && own.mac === '' && (own.name === '' || own.name.endsWith('*'));
    rows.push(rowOf({ ...own, name: many ? port.name : own.name }, port.name, entry !== undefined));
  }
  for (const entry of settings) {
    const pattern = entry.vlan === 0 && entry.mac === '' && (entry.name === '' || entry.name.endsWith('*'));
    if (!taken.has(entry) && !pattern) rows.push(rowOf(entry, '', true));
  }
  return rows;
}

/** The entries of a list that was typed as text. */
export const words = (text: string) => text.split(/[\s,;]+/).filter(Boolean);

/** What the server is sent: the rows in use. */
export function entryOf(row: Row): NetworkInterface {
  const routes = row.routes
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean)
    .map((line) => {
      const [to = '', , via = '', , metric = '0'] = line.split(/\s+/);
      return { to, via, metric: Number(metric) || 0 };
    });
  if (row.gateway4.trim() !== '') routes.unshift({ to: every4, via: row.gateway4.trim(), metric: 0 });
  if (row.gateway6.trim() !== '') routes.unshift({ to: every6, via: row.gateway6.trim(), metric: 0 });
  return {
    name: row.name, mac: row.mac, vlan: row.vlan, link: row.link, zone: row.zone,
    dhcp4: row.dhcp4, dhcp6: row.dhcp6, accept_ra: row.accept_ra, no_default_route: row.no_default_route, metric: row.metric, mtu: row.mtu, limit: Number(row.limit) || 0,
    addresses: words(row.addresses), routes, nameservers: words(row.nameservers), search: words(row.search),
  };
}

/** Where in the form a refused field of the server stands: entries that are not in use were not sent. */
export function placeOf(rows: readonly Row[], field: string): string {
  if (/^ntp(\.\d+)?$/.test(field)) return 'ntp';
  const found = /^interfaces\.(\d+)\.(\w+)/.exec(field);
  if (!found) return field;
  const row = rows.filter((r) => r.use)[Number(found[1])];
  if (!row) return field;
  let name = found[2]!;
  const route = /\.routes\.(\d+)\./.exec(field);
  if (route) {
    const to = entryOf(row).routes[Number(route[1])]?.to;
    if (to === every4 && row.gateway4.trim() !== '') name = 'gateway4';
    if (to === every6 && row.gateway6.trim() !== '') name = 'gateway6';
  }
  return `rows.${rows.indexOf(row)}.${name}`;
}

/** Where the box is to be found after the change, as far as one can say. */
export function newOrigins(rows: readonly Row[], here: URL): string[] {
  return rows
    .filter((r) => r.use && r.zone !== 'trunk')
    .flatMap((r) => words(r.addresses))
    .map((a) => a.replace(/\/.*$/, ''))
    .map((a) => `https://${a.includes(':') ? `[${a}]` : a}${here.port === '' ? '' : `:${here.port}`}`);
}
