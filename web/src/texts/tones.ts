import type { CallRules } from '../shared/api';

/** Countries whose tones the box knows. */
export const countries: Record<CallRules['tones'], string> = {
  AT: 'Austria',
  CA: 'Canada',
  CH: 'Switzerland',
  DE: 'Germany',
  ES: 'Spain',
  FR: 'France',
  GB: 'United Kingdom',
  IT: 'Italy',
  NL: 'Netherlands',
  US: 'United States',
  ITU: 'Other countries (ITU-T)',
};
