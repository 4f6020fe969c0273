import { IconCircle, IconCircleCheckFilled, IconCircleXFilled } from '@tabler/icons-react';
import { passwordTexts } from '../../texts/password';
import { judge } from '../password';
import css from './parts.module.css';

/** The rules, each ticked while the password is being typed. */
export function PasswordRules({ id, password, account }: { id?: string; password: string; account: readonly string[] }) {
  return (
    <ul className={css.rules} id={id} aria-label={passwordTexts.rulesTitle}>
      {judge(password, account).map(({ rule, ok }) => {
        const untouched = password === '';
        const Icon = untouched ? IconCircle : ok ? IconCircleCheckFilled : IconCircleXFilled;
        return (
          <li key={rule} data-rule={rule} data-ok={(!untouched && ok) || undefined} data-broken={(!untouched && !ok) || undefined}>
            <Icon size={16} aria-hidden />
            <span>
              {passwordTexts.rules[rule]}
              <span className="visually-hidden">{untouched ? '' : ok ? passwordTexts.kept : passwordTexts.broken}</span>
            </span>
          </li>
        );
      })}
    </ul>
  );
}
