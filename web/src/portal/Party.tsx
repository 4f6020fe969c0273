import type { Party as PartyData } from '../shared/api';
import { calls } from '../texts/calls';
import css from './pages/pages.module.css';

/** One end of a call: number, and name when it has one. */
export function Party({ party }: { party: PartyData }) {
  return (
    <span className={css.party}>
      <span className={css.partyNumber}>{party.number || calls.unknown}</span>
      {party.name !== '' && party.name !== party.number && <span className={css.partyName}>{party.name}</span>}
    </span>
  );
}

/** The same as plain text, for sorting and searching. */
export function partyText(party: PartyData): string {
  return `${party.number} ${party.name}`.trim();
}
