import { Button } from '@mantine/core';
import { IconDownload, IconPlus, IconPrinter } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import type { SIPCredentials } from '../shared/api';
import { csv, download } from '../shared/csv';
import { CopyButton } from '../shared/ui/Copy';
import { DataTable, type Column } from '../shared/ui/DataTable';
import { setup as texts } from '../texts/setup';
import css from './Wizard.module.css';

const columns: readonly Column<SIPCredentials>[] = [
  { id: 'number', header: texts.number, value: (a) => a.number, cell: (a) => <span style={{ fontWeight: 550 }}>{a.number}</span> },
  { id: 'name', header: texts.display, value: (a) => a.display_name },
  {
    id: 'password',
    header: texts.sipPassword,
    value: (a) => a.sip_password,
    cell: (a) => (
      <span style={{ display: 'inline-flex', alignItems: 'center', gap: 4 }}>
        <span className="mono" data-testid="sip-password">
          {a.sip_password}
        </span>
        <CopyButton text={a.sip_password} what={`${texts.sipPassword} ${a.number}`} />
      </span>
    ),
  },
];

/** Accounts with their passwords, as they are shown once. */
export function Accounts({ accounts, rowActions }: { accounts: readonly SIPCredentials[]; rowActions?: (a: SIPCredentials) => ReactNode }) {
  return (
    <>
      <div className={css.accounts}>
        <div className={css.scroll} tabIndex={0} role="region" aria-label={texts.steps.extensions}>
          <DataTable plain name="accounts" noun="extensions" columns={columns} rows={accounts} rowKey={(a) => a.number} empty={null} rowActions={rowActions} />
        </div>
      </div>
      <p style={{ margin: '12px 0 0', fontSize: 13.5, color: 'var(--mantine-color-dimmed)' }}>{texts.server(window.location.hostname)}</p>
    </>
  );
}

export function saveAccounts(accounts: readonly SIPCredentials[]): void {
  const heading = [texts.number, texts.display, texts.sipUser, texts.sipPassword, texts.domainColumn];
  const rows = accounts.map((a) => [a.number, a.display_name, a.sip_user, a.sip_password, a.domain]);
  download('extensions.csv', 'text/csv', csv(heading, rows));
}

interface KeepProps {
  accounts: readonly SIPCredentials[];
  onKept: () => void;
  onPrint?: () => void;
  onMore?: () => void;
}

/** Ways to keep the passwords, and to make more. */
export function KeepButtons({ accounts, onKept, onPrint, onMore }: KeepProps) {
  return (
    <div className="no-print" style={{ display: 'flex', gap: 8, marginTop: 12 }}>
      <Button
        variant="default"
        size="xs"
        leftSection={<IconDownload size={15} />}
        onClick={() => {
          saveAccounts(accounts);
          onKept();
        }}
      >
        {texts.csv}
      </Button>
      {onPrint && (
        <Button variant="default" size="xs" leftSection={<IconPrinter size={15} />} onClick={onPrint}>
          {texts.print}
        </Button>
      )}
      {onMore && (
        <Button variant="default" size="xs" leftSection={<IconPlus size={15} />} onClick={onMore}>
          {texts.createMore}
        </Button>
      )}
    </div>
  );
}
