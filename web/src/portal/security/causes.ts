import type { PacketHistory } from '../../shared/api';

/** Causes of drops that are drawn as one. */
export const groups = ['banned', 'level', 'listed', 'closed', 'screened', 'other'] as const;
export type Group = (typeof groups)[number];

export const colours: Record<Group, string> = {
  banned: '--mantine-color-red-6',
  level: '--mantine-color-orange-5',
  listed: '--mantine-color-grape-6',
  closed: '--mantine-color-blue-5',
  screened: '--mantine-color-teal-6',
  other: '--mantine-color-gray-5',
};

/** Which group a cause of the packet filter or of SIP belongs to. */
export function groupOf(cause: string): Group {
  if (cause.startsWith('ban_') || cause === 'sip_banned') return 'banned';
  if (/^(level\d|flood)_/.test(cause) || cause === 'known' || cause.startsWith('limit')) return 'level';
  if (cause === 'block') return 'listed';
  if (cause === 'rest') return 'closed';
  if (cause === 'tool' || cause === 'stranger') return 'screened';
  return 'other';
}

export interface Stacked {
  group: Group;
  total: number;
  /** Packets a second; null where nobody counted. */
  values: (number | null)[];
}

/** The drops of a history, by group; groups without a packet are left out. */
export function stacked(h: PacketHistory): Stacked[] {
  return groups
    .map((group) => {
      const lines = h.drops.filter((d) => groupOf(d.name) === group);
      return {
        group,
        total: lines.reduce((sum, d) => sum + d.total, 0),
        values: h.known.map((known, i) => (known ? lines.reduce((sum, d) => sum + (d.values[i] ?? 0), 0) : null)),
      };
    })
    .filter((s) => s.total > 0);
}
