import { Facts } from '../../shared/ui/Facts';
import { Copyable, Secret } from '../../shared/ui/Copy';
import { extensions as texts } from '../../texts/extensions';
import css from '../pages/pages.module.css';

interface Props {
  number: string;
  domain: string;
  /** Known only right after it was made. */
  password?: string;
  action?: React.ReactNode;
}

/** What is typed into a phone that cannot set itself up. */
export function SIPAccount({ number, domain, password, action }: Props) {
  return (
    <section className={css.section}>
      <h3>{texts.account}</h3>
      <Facts
        items={[
          [texts.sipUser, <Copyable text={number} what={texts.sipUser} />],
          [texts.domain, <Copyable text={domain} what={texts.domain} />],
          [
            texts.sipPassword,
            password === undefined ? <span className="dimmed">{texts.passwordHidden}</span> : <Secret text={password} what={texts.sipPassword} shown />,
          ],
        ]}
      />
      {action}
    </section>
  );
}
