import type { Provisioning, SIPCredentials } from '../shared/api';
import { Facts } from '../shared/ui/Facts';
import { setup as texts } from '../texts/setup';
import css from './Sheets.module.css';

/** One card an extension, on paper only. */
export function Sheets({ accounts, codes }: { accounts: readonly SIPCredentials[]; codes: ReadonlyMap<string, Provisioning> }) {
  return (
    <div className={css.sheets} aria-hidden>
      {accounts.map((a) => {
        const code = codes.get(a.number);
        return (
          <div key={a.number} className={css.sheet}>
            <div>
              <h2>{`${texts.sheetTitle(a.number)} ${a.display_name}`}</h2>
              <Facts
                items={[
                  [texts.sipUser, <span className="mono">{a.sip_user}</span>],
                  [texts.domainColumn, <span className="mono">{a.domain}</span>],
                  [texts.sipPassword, <span className="mono">{a.sip_password}</span>],
                ]}
              />
              <p>{texts.sheetSecret}</p>
            </div>
            {code && (
              <div className={css.code}>
                <img src={code.qr_png} alt="" />
                <p>{texts.sheetQR}</p>
              </div>
            )}
          </div>
        );
      })}
    </div>
  );
}
