import type { Extension } from '../shared/api';

export const media = {
  label: 'Encryption of calls',
  levels: ['offer', 'require', 'require-256', 'off'] as readonly Extension['media_security'][],
  names: {
    offer: 'Whenever possible',
    require: 'Always',
    'require-256': 'Always, with 256-bit keys',
    off: 'Never',
  } satisfies Record<Extension['media_security'], string>,
  hints: {
    offer: 'The best that the phone knows: AES-256 before AES-128. A phone that knows none talks unencrypted.',
    require: 'A phone that cannot encrypt (SRTP) cannot call or be called; the reason is in the call record.',
    'require-256': 'As above, and keys of 128 bits are refused too. Many desk phones know no others.',
    off: 'Neither offered nor taken. For phones and gateways that stumble over the offer.',
  } satisfies Record<Extension['media_security'], string>,
} as const;

export const dtmf = {
  label: 'Digits during a call (DTMF)',
  forms: ['auto', 'rfc4733', 'inband', 'info'] as readonly Extension['dtmf'][],
  names: {
    auto: 'As the phone does it',
    rfc4733: 'Telephone-events (RFC 4733)',
    inband: 'Tones in the audio',
    info: 'SIP INFO',
  } satisfies Record<Extension['dtmf'], string>,
  hints: {
    auto: 'Telephone-events if the phone agrees to them, else tones in the audio; SIP INFO from phones that send it.',
    rfc4733: 'Nothing else is taken for a digit.',
    inband: 'For analogue adapters and gateways. Needs G.711 or G.722.',
    info: 'For phones that know no other way.',
  } satisfies Record<Extension['dtmf'], string>,
} as const;

export const callRules = {
  panel: 'Calls',
  mediaNew: 'Encryption of calls, for new extensions',
  mediaNewHint: 'Extensions that exist keep theirs; each has its own under Extensions.',
  timers: 'Session timers',
  timersHint: 'How the end of a call is noticed whose phone vanished without hanging up (RFC 4028).',
  timerModes: {
    accept: 'With every phone that knows them',
    require: 'Always: phones without are refused',
    refuse: 'Never',
  },
  expires: 'A session lasts',
  expiresHint: 'So long after the last sign of life the call ends; phones refresh at half time. Up to 86400 seconds (a day).',
  least: 'Shortest session a phone may ask for',
  leastHint: '90 to 3600 seconds. Shorter ones only cost messages.',
  dead: 'End calls after silence of',
  deadHint: 'When neither side sends media for so long. 30 to 86400 seconds; 0 leaves such calls alone.',
  tones: 'Tones of',
  tonesHint: 'Ringing, busy and other tones of this box sound as people there know them.',
  music: 'On hold people hear',
  musicHint: 'Many phones send nothing, or the room, while they hold somebody.',
  musicSources: {
    pbx: 'The music of this box',
    phone: 'What the other phone sends',
  },
  saved: 'Saved. It applies to new calls.',
} as const;
