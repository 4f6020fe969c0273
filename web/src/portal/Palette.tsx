import { Spotlight, type SpotlightActionData, type SpotlightActionGroupData } from '@mantine/spotlight';
import {
  IconAffiliate,
  IconCertificate,
  IconClock,
  IconCoins,
  IconPhoneIncoming,
  IconPhoneOutgoing,
  IconRoute,
  IconRouter,
  IconWorld,
  IconClipboardList,
  IconDeviceLandlinePhone,
  IconFileCode,
  IconHash,
  IconHistory,
  IconKey,
  IconLayoutDashboard,
  IconLock,
  IconMapPin, IconNetwork,
  IconPhoneCall,
  IconPlugConnected,
  IconPlus,
  IconSearch,
  IconShieldLock,
  IconTerminal2,
  IconUsers,
  IconShieldX,
} from '@tabler/icons-react';
import { useQuery, useSuspenseQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { extensionsQuery, sessionQuery } from '../shared/queries';
import { shell } from '../texts/shell';

/** Ctrl-K: jump to any page or extension, start any action. */
export function Palette() {
  const navigate = useNavigate();
  const box = useSuspenseQuery(sessionQuery).data.role === 'system_admin';
  const list = useQuery(extensionsQuery).data?.items ?? [];
  const action = (id: string, label: string, icon: React.ReactNode, onClick: () => void, description?: string): SpotlightActionData => ({
    id,
    label,
    description,
    leftSection: icon,
    onClick,
  });
  const pages = [
    action('overview', shell.nav.overview, <IconLayoutDashboard size={18} />, () => void navigate({ to: '/' })),
    action('extensions', shell.nav.extensions, <IconUsers size={18} />, () => void navigate({ to: '/extensions' })),
    action('phones', shell.nav.phones, <IconDeviceLandlinePhone size={18} />, () => void navigate({ to: '/phones' })),
    action('registrations', shell.nav.registrations, <IconAffiliate size={18} />, () => void navigate({ to: '/registrations' })),
    action('calls', shell.nav.calls, <IconPhoneCall size={18} />, () => void navigate({ to: '/calls' })),
    action('cdrs', shell.nav.cdrs, <IconHistory size={18} />, () => void navigate({ to: '/cdrs' })),
    action('trunks', shell.nav.trunks, <IconRouter size={18} />, () => void navigate({ to: '/trunks' })),
    action('numbers', shell.nav.numbers, <IconHash size={18} />, () => void navigate({ to: '/numbers' })),
    action('outgoing', shell.nav.outgoing, <IconPhoneOutgoing size={18} />, () => void navigate({ to: '/outgoing' })),
    action('incoming', shell.nav.incoming, <IconPhoneIncoming size={18} />, () => void navigate({ to: '/incoming' })),
    action('hours', shell.nav.hours, <IconClock size={18} />, () => void navigate({ to: '/hours' })),
    action('numbering', shell.nav.numbering, <IconWorld size={18} />, () => void navigate({ to: '/numbering' })),
    action('rates', shell.nav.rates, <IconCoins size={18} />, () => void navigate({ to: '/rates' })),
    action('try', shell.nav.tryNumber, <IconRoute size={18} />, () => void navigate({ to: '/try' })),
    action('ports', shell.nav.ports, <IconShieldLock size={18} />, () => void navigate({ to: '/ports' })),
    ...(box
      ? [
          action('configuration', shell.nav.configuration, <IconFileCode size={18} />, () => void navigate({ to: '/configuration' })),
          action('transports', shell.nav.transports, <IconPlugConnected size={18} />, () => void navigate({ to: '/transports' })),
          action('certificates', shell.nav.certificates, <IconCertificate size={18} />, () => void navigate({ to: '/certificates' })),
          action('addresses', shell.nav.addresses, <IconMapPin size={18} />, () => void navigate({ to: '/addresses' })),
          action('security', shell.nav.security, <IconShieldX size={18} />, () => void navigate({ to: '/security' })),
          action('ssh', shell.nav.ssh, <IconTerminal2 size={18} />, () => void navigate({ to: '/ssh' })),
          action('network', shell.nav.network, <IconNetwork size={18} />, () => void navigate({ to: '/network' })),
        ]
      : []),
    action('sign-in', shell.nav.signIn, <IconLock size={18} />, () => void navigate({ to: '/sign-in' })),
    action('audit', shell.nav.audit, <IconClipboardList size={18} />, () => void navigate({ to: '/audit' })),
  ];
  const deeds = [
    action('new', shell.newExtension, <IconPlus size={18} />, () => void navigate({ to: '/extensions', search: { create: true } }), shell.newExtensionHint),
    action('password', shell.changePassword, <IconKey size={18} />, () => void navigate({ to: '/account' })),
  ];
  const numbers = list.map((e) =>
    action(
      `extension-${e.number}`,
      `${e.number} ${e.display_name}`.trim(),
      <IconHash size={18} />,
      () => void navigate({ to: '/extensions', search: { number: e.number } }),
    ),
  );
  const groups: SpotlightActionGroupData[] = [
    { group: shell.pages, actions: pages },
    { group: shell.actions, actions: deeds },
    { group: shell.extensions, actions: numbers },
  ];
  return (
    <Spotlight
      actions={groups}
      limit={14}
      shortcut={['mod + K']}
      // The list of every extension is of use only to a search.
      filter={(query, actions) => choose(query, actions as SpotlightActionGroupData[])}
      nothingFound={shell.jumpNothing}
      scrollable
      centered={false}
      yOffset="14vh"
      radius="lg"
      overlayProps={{ blur: 0, backgroundOpacity: 0.35 }}
      attributes={{ content: { 'aria-label': shell.jump } }}
      maxHeight={420}
      searchProps={{ leftSection: <IconSearch size={18} />, placeholder: shell.jumpHint, 'aria-label': shell.jump }}
    />
  );
}

function choose(query: string, groups: SpotlightActionGroupData[]): SpotlightActionGroupData[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return groups.filter((g) => g.group !== shell.extensions);
  return groups
    .map((g) => ({ ...g, actions: g.actions.filter((a) => words.every((w) => (a.label ?? '').toLowerCase().includes(w))) }))
    .filter((g) => g.actions.length > 0);
}
