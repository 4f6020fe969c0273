export const addresses = {
  title: 'Addresses',
  lead: 'What phones are told about where this box is. For messages and calls from now on; nothing is restarted.',
  detected: 'Addresses of this machine',
  detectedNone: 'This machine has no address that others could reach.',
  place: 'From outside',
  behind: 'Not reachable as it is',
  open: 'Told as it is',
  fromCloud: (own: string) => `public, says the cloud${own === '' ? '' : `, for ${own}`}; told to phones outside while none is set below`,
  outgoing: 'way to the internet',
  hintTitle: 'No public address is set',
  hint: 'All addresses of this machine are inside: it is behind a router or in a cloud. If phones outside are to use it, set the public address that leads here, or their calls stay silent.',
  outside: 'Towards phones outside',
  publicAddress: 'Public address',
  publicHint:
    'The fixed IPv4 or IPv6 address that leads to this machine one to one. Phones outside are told it in Contact, Via and for their media. Leave it empty if the machine has public addresses itself.',
  always: 'Tell it to everybody',
  alwaysHint: 'For port forwarding from the machine’s own host, and routers whose inside reaches the public address too.',
  more: 'Other public addresses',
  moreHint: 'For a machine with several interfaces: what phones outside are told instead of one of its own addresses.',
  local: 'Own address',
  public: 'Public address of it',
  add: 'Add address',
  remove: (n: number) => `Remove row ${n}`,
  inside: 'Inside networks',
  insideHint:
    'One a line. Phones in these networks are told the address by which they reach the box. Private networks stand here from the start; add public ones of your own, such as 198.51.100.0/24. The machine itself and its links always count as inside.',
  standard: 'Private networks again',
  saved: 'Saved. Calls and messages use it from now on.',
} as const;

/** RFC 1918, RFC 6598 and RFC 4193, as on a new box. */
export const privateNetworks = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7'];
