import { Button, Modal, Text } from '@mantine/core';
import { IconArrowRight, IconQrcode } from '@tabler/icons-react';
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import type { Provisioning, SIPCredentials } from '../shared/api';
import { provisioningQuery } from '../shared/queries';
import { ButtonLink } from '../shared/ui/ButtonLink';
import { Notice } from '../shared/ui/Notice';
import { PhoneSetup } from '../portal/extension/PhoneSetup';
import { SIPAccount } from '../portal/extension/SIPAccount';
import { common } from '../texts/common';
import { setup as texts } from '../texts/setup';
import { Accounts, KeepButtons } from './Accounts';
import { Sheets } from './Sheets';
import css from './Wizard.module.css';

/** Set-up is over: the accounts a last time, and how to connect a phone. */
export function Ready({ accounts }: { accounts: readonly SIPCredentials[] }) {
  const [open, setOpen] = useState<SIPCredentials | null>(null);
  const [kept, setKept] = useState(false);
  const { codes, print } = useSheets(accounts, () => setKept(true));
  useWarning(accounts.length > 0 && !kept);
  return (
    <>
      <div className="no-print">
        <h1>{texts.readyTitle}</h1>
        <p className={css.lead}>{accounts.length > 0 ? texts.readyText : texts.readyNoPasswords}</p>
        {accounts.length > 0 && (
          <>
            <Notice tone="warn" title={texts.onceTitle}>
              {texts.onceText}
            </Notice>
            <Accounts
              accounts={accounts}
              rowActions={(a) => (
                <Button size="compact-sm" variant="default" leftSection={<IconQrcode size={15} />} onClick={() => setOpen(a)}>
                  {texts.qr}
                </Button>
              )}
            />
            <KeepButtons accounts={accounts} onKept={() => setKept(true)} onPrint={() => void print()} />
          </>
        )}
        <div className={css.buttons}>
          <ButtonLink to="/" size="md" rightSection={<IconArrowRight size={18} />} data-testid="to-portal">
            {texts.toPortal}
          </ButtonLink>
        </div>
      </div>
      <Sheets accounts={accounts} codes={codes} />
      <Modal
        opened={open !== null}
        onClose={() => setOpen(null)}
        size="lg"
        title={<Text fw={620}>{open && texts.phoneTitle(`${open.number} ${open.display_name}`.trim())}</Text>}
        closeButtonProps={{ 'aria-label': common.close }}
      >
        {open && (
          <>
            <PhoneSetup number={open.number} />
            <div style={{ height: 24 }} />
            <SIPAccount number={open.number} domain={open.domain} password={open.sip_password} />
          </>
        )}
      </Modal>
    </>
  );
}

/** Fetches the QR codes that the printed sheets show, then prints. */
function useSheets(accounts: readonly SIPCredentials[], onPrinted: () => void) {
  const queries = useQueryClient();
  const [codes, setCodes] = useState<ReadonlyMap<string, Provisioning>>(new Map());
  const [wanted, setWanted] = useState(false);
  const printed = useRef(onPrinted);
  printed.current = onPrinted;
  const print = async () => {
    const found = new Map<string, Provisioning>();
    for (const { number } of accounts) {
      const code = await queries.fetchQuery(provisioningQuery(number)).catch(() => null);
      if (code) found.set(number, code);
    }
    setCodes(found);
    setWanted(true);
  };
  // After the sheets were drawn with their codes.
  useEffect(() => {
    if (!wanted) return;
    setWanted(false);
    window.print();
    printed.current();
  }, [wanted]);
  return { codes, print };
}

/** Asks before the tab with unsaved passwords is closed. */
function useWarning(wanted: boolean): void {
  useEffect(() => {
    if (!wanted) return undefined;
    const ask = (e: BeforeUnloadEvent) => e.preventDefault();
    window.addEventListener('beforeunload', ask);
    return () => window.removeEventListener('beforeunload', ask);
  }, [wanted]);
}
