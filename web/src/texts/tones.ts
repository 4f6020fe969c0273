import type { CallRules } from '../shared/api';

/** Countries whose tones the box knows. */
export const countries: Record<CallRules['tones'], string> = {
  at: 'Austria', au: 'Australia', be: 'Belgium', br: 'Brazil', ca: 'Canada', ch: 'Switzerland', cn: 'China', cz: 'Czechia', de: 'Germany',
  dk: 'Denmark', es: 'Spain', fi: 'Finland', fr: 'France', gb: 'United Kingdom', gr: 'Greece', hu: 'Hungary', ie: 'Ireland', il: 'Israel',
  in: 'India', it: 'Italy', jp: 'Japan', kr: 'South Korea', mx: 'Mexico', nl: 'Netherlands', no: 'Norway', nz: 'New Zealand', pl: 'Poland',
  pt: 'Portugal', ru: 'Russia', se: 'Sweden', sg: 'Singapore', tr: 'Türkiye', us: 'United States', za: 'South Africa',
};
