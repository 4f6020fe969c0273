import { IconCircle, IconCircleCheckFilled, IconCircleXFilled } from '@tabler/icons-react';
import { passwordTexts } from '../../texts/password';
import { defaultPolicy, judge, type Policy } from '../password';
import css from './parts.module.css';

/** The rules, each ticked while the password is being typed. */
export function PasswordRules({ id, password, account, policy = defaultPolicy }: { id?: string; password: string; account: readonly string[]; policy?: Policy }) {
  return (
    <ul className={css.rules} id={id} aria-label={passwordTexts.rulesTitle}>
      {judge(password, account, policy).map(({ rule, ok }) => {
        const untouched = password === '';
        const Icon = untouched ? IconCircle : ok ? IconCircleCheckFilled : IconCircleXFilled;
        return (
          <li key={rule} data-rule={rule} data-ok={(!untouched && ok) || undefined} data-broken={(!untouched && !ok) || undefined}>
            <Icon size={16} aria-hidden />
            <span>
              {rule === 'length' ? passwordTexts.length(policy.min, policy.max) : passwordTexts.rules[rule]}
              <span className="visually-hidden">{untouched ? '' : ok ? passwordTexts.kept : passwordTexts.broken}</span>
            </span>
          </li>
        );
      })}
    </ul>
  );
}
