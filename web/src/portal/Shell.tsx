import { AppShell, Burger, Kbd, NavLink, Text, UnstyledButton } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { spotlight } from '@mantine/spotlight';
import { useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { Link, Outlet, useLocation } from '@tanstack/react-router';
import {
  IconAffiliate,
  IconBuilding,
  IconCertificate,
  IconClock,
  IconCoins,
  IconHash,
  IconPhoneIncoming,
  IconPhoneOutgoing,
  IconRoute,
  IconRouter,
  IconWorld,
  IconClipboardList,
  IconDeviceLandlinePhone,
  IconFileCode,
  IconHistory,
  IconLayoutDashboard,
  IconLock,
  IconMapPin,
  IconNetwork,
  IconPhoneCall,
  IconPlugConnected,
  IconSearch,
  IconShieldLock,
  IconShieldX,
  IconTerminal2,
  IconUser,
  IconUserShield,
  IconUsers,
  IconUsersGroup,
  type Icon,
} from '@tabler/icons-react';
import { useEffect, useState } from 'react';
import { Live, useLiveState } from '../shared/live';
import { sessionQuery } from '../shared/queries';
import { Brand } from '../shared/ui/Brand';
import { State } from '../shared/ui/State';
import { shell } from '../texts/shell';
import { Palette } from './Palette';
import { isAdmin, mayOpen } from './roles';
import css from './Shell.module.css';
import { OwnBans } from './security/OwnBans';
import { TenantSwitch } from './TenantSwitch';
import { TrialBanner } from './Trial';
import { UserMenu } from './UserMenu';

interface NavItem {
  to: '/' | '/own' | '/users' | '/roles' | '/groups' | '/tenants' | '/extensions' | '/registrations' | '/phones' | '/calls' | '/cdrs' | '/ports' | '/transports' | '/certificates' | '/addresses' | '/security' | '/ssh' | '/network' | '/sign-in' | '/configuration' | '/audit' | '/trunks' | '/numbers' | '/outgoing' | '/incoming' | '/hours' | '/numbering' | '/rates' | '/try';
  label: string;
  icon: Icon;
}

const groups: readonly { label?: string; items: readonly NavItem[] }[] = [
  { items: [{ to: '/', label: shell.nav.overview, icon: IconLayoutDashboard }] },
  {
    label: shell.nav.people,
    items: [
      { to: '/users', label: shell.nav.users, icon: IconUser },
      { to: '/extensions', label: shell.nav.extensions, icon: IconUsers },
      { to: '/groups', label: shell.nav.groups, icon: IconUsersGroup },
      { to: '/roles', label: shell.nav.roles, icon: IconUserShield },
      { to: '/registrations', label: shell.nav.registrations, icon: IconAffiliate },
      { to: '/phones', label: shell.nav.phones, icon: IconDeviceLandlinePhone },
    ],
  },
  {
    label: shell.nav.telephony,
    items: [
      { to: '/own', label: shell.nav.own, icon: IconDeviceLandlinePhone },
      { to: '/calls', label: shell.nav.calls, icon: IconPhoneCall },
      { to: '/cdrs', label: shell.nav.cdrs, icon: IconHistory },
    ],
  },
  {
    label: shell.nav.outside,
    items: [
      { to: '/trunks', label: shell.nav.trunks, icon: IconRouter },
      { to: '/numbers', label: shell.nav.numbers, icon: IconHash },
      { to: '/outgoing', label: shell.nav.outgoing, icon: IconPhoneOutgoing },
      { to: '/incoming', label: shell.nav.incoming, icon: IconPhoneIncoming },
      { to: '/hours', label: shell.nav.hours, icon: IconClock },
      { to: '/numbering', label: shell.nav.numbering, icon: IconWorld },
      { to: '/rates', label: shell.nav.rates, icon: IconCoins },
      { to: '/try', label: shell.nav.tryNumber, icon: IconRoute },
    ],
  },
  {
    label: shell.nav.system,
    items: [
      { to: '/tenants', label: shell.nav.tenants, icon: IconBuilding },
      { to: '/ports', label: shell.nav.ports, icon: IconShieldLock },
      { to: '/transports', label: shell.nav.transports, icon: IconPlugConnected },
      { to: '/certificates', label: shell.nav.certificates, icon: IconCertificate },
      { to: '/addresses', label: shell.nav.addresses, icon: IconMapPin },
      { to: '/security', label: shell.nav.security, icon: IconShieldX },
      { to: '/ssh', label: shell.nav.ssh, icon: IconTerminal2 },
      { to: '/network', label: shell.nav.network, icon: IconNetwork },
      { to: '/sign-in', label: shell.nav.signIn, icon: IconLock },
      { to: '/configuration', label: shell.nav.configuration, icon: IconFileCode },
      { to: '/audit', label: shell.nav.audit, icon: IconClipboardList },
    ],
  },
];

/** The frame of the portal: navigation, live connection, account. */
export function Shell() {
  const [opened, menu] = useDisclosure(false);
  const { pathname } = useLocation();
  const session = useSuspenseQuery(sessionQuery).data;
  const admin = isAdmin(session.role);
  const locked = session.must_change_password || session.must_set_up_second_factor;
  const live = useLive(mayOpen(session, '/calls') && !locked, session.tenant.id);
  useEffect(() => {
    menu.close();
  }, [pathname]);

  return (
    <AppShell
      header={{ height: { base: 56, md: 0 } }}
      navbar={{ width: 236, breakpoint: 'md', collapsed: { mobile: !opened } }}
      padding={0}
      classNames={{ navbar: css.navbar, header: css.header, main: css.main }}
    >
      <a className={css.skip} href="#content">
        {shell.skip}
      </a>
      <AppShell.Header hiddenFrom="md">
        <Burger opened={opened} onClick={menu.toggle} size="sm" aria-label={opened ? shell.closeMenu : shell.openMenu} />
        <Brand size={26} />
      </AppShell.Header>
      <AppShell.Navbar>
        <div className={css.brand}>
          <Link to="/" className={css.brandLink}>
            <Brand />
          </Link>
        </div>
        {session.role === 'system_admin' && !locked && <TenantSwitch session={session} />}
        {admin && !locked && (
          <UnstyledButton className={css.jump} onClick={() => spotlight.open()}>
            <IconSearch size={15} aria-hidden />
            <span>{shell.jump}</span>
            <Kbd size="xs">Ctrl K</Kbd>
          </UnstyledButton>
        )}
        <div className={css.nav}>
          {!locked &&
            groups.map((group) => {
              const items = group.items.filter((i) => mayOpen(session, i.to) && (i.to !== '/own' || session.user.extension !== ''));
              if (items.length === 0) return null;
              return (
                <div key={group.label ?? ''} className={css.group}>
                  {group.label && admin && <Text className={css.groupLabel}>{group.label}</Text>}
                  {items.map(({ to, label, icon: ItemIcon }) => (
                    <NavLink
                      key={to}
                      component={Link}
                      to={to}
                      label={label}
                      active={pathname === to}
                      aria-current={pathname === to ? 'page' : undefined}
                      leftSection={<ItemIcon size={18} stroke={1.7} aria-hidden />}
                      className={css.link}
                    />
                  ))}
                </div>
              );
            })}
        </div>
        <div className={css.foot}>
          {live && <LiveBadge live={live} />}
          <UserMenu session={session} />
        </div>
      </AppShell.Navbar>
      <AppShell.Main id="content" tabIndex={-1}>
        <div className={css.content}>
          {!locked && <OwnBans />}
          {session.role === 'system_admin' && !locked && <TrialBanner />}
          <Outlet />
        </div>
      </AppShell.Main>
      {admin && !locked && <Palette />}
    </AppShell>
  );
}

/** The event stream of the organisation lives as long as the shell of who may see its calls. */
function useLive(wanted: boolean, tenant: number): Live | null {
  const queries = useQueryClient();
  const [live] = useState(() => new Live(queries));
  useEffect(() => {
    if (!wanted) return undefined;
    live.open();
    return () => live.close();
    // Another organisation is another stream.
  }, [live, wanted, tenant]);
  return wanted ? live : null;
}

function LiveBadge({ live }: { live: Live }) {
  const state = useLiveState(live);
  return (
    <div className={css.live} title={state === 'live' ? shell.liveHint : shell.pollingHint} data-live={state} role="status">
      <State tone={state === 'live' ? 'ok' : 'warn'}>{state === 'live' ? shell.live : shell.polling}</State>
    </div>
  );
}
