import { Menu, UnstyledButton, useMantineColorScheme, type MantineColorScheme } from '@mantine/core';
import { IconLogout, IconSelector, IconUser } from '@tabler/icons-react';
import { useQueryClient } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { client, holdSessionToken, take, type Session } from '../shared/api';
import { shell } from '../texts/shell';
import css from './Shell.module.css';
import { roleName } from './roles';

/** Who is signed in, the appearance, and the way out. */
export function UserMenu({ session }: { session: Session }) {
  const signOut = useSignOut();
  const { user } = session;
  const name = [user.first_name, user.last_name].filter(Boolean).join(' ') || user.name;
  return (
    <Menu position="top-start" width={236} offset={6}>
      <Menu.Target>
        <UnstyledButton className={css.user}>
          <span className={css.initials} aria-hidden>
            {initials(name)}
          </span>
          <span className={css.userText}>
            <div className={css.userName}>{name}</div>
            <div className={css.userRole}>{roleName(session.role)}</div>
          </span>
          <IconSelector size={16} aria-hidden />
        </UnstyledButton>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item component={Link} to="/account" leftSection={<IconUser size={16} />}>
          {shell.nav.account}
        </Menu.Item>
        <Menu.Divider />
        <Menu.Label>{shell.appearance}</Menu.Label>
        <Appearance />
        <Menu.Divider />
        <Menu.Item leftSection={<IconLogout size={16} />} onClick={() => void signOut()}>
          {shell.signOut}
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

function Appearance() {
  // Without keepTransitions the library writes a style element of its own for each change.
  const { colorScheme, setColorScheme } = useMantineColorScheme({ keepTransitions: true });
  return (
    <Menu.RadioGroup value={colorScheme} onChange={(value) => setColorScheme(value as MantineColorScheme)}>
      {(['light', 'dark', 'auto'] as const).map((value) => (
        <Menu.RadioItem key={value} value={value}>
          {shell.scheme[value]}
        </Menu.RadioItem>
      ))}
    </Menu.RadioGroup>
  );
}

/** Ends the session here even when the server cannot be told. */
export function useSignOut(): () => Promise<void> {
  const queries = useQueryClient();
  const navigate = useNavigate();
  return async () => {
    await take(client.DELETE('/api/v1/session')).catch(() => undefined);
    await navigate({ to: '/login', search: {} });
    holdSessionToken('');
    queries.clear();
  };
}

function initials(name: string): string {
  const words = name.split(/[\s._-]+/).filter(Boolean);
  return ((words[0]?.[0] ?? '') + (words.length > 1 ? words.at(-1)![0]! : (words[0]?.[1] ?? ''))).toUpperCase();
}
