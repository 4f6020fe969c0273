// Every page in both colour schemes, and at the width of a phone.
import { desktop, phone, Watched } from './browser.mjs';
import { leftOut, test } from './harness.mjs';

/** @typedef {import('playwright-core').Browser} Browser */
/** @typedef {{ url: string, user: string, password: string }} Server */
/** @typedef {[name: string, path: string, then?: (page: import('playwright-core').Page) => Promise<void>]} Stop */

/** @type {Stop[]} */
export const stops = [
  ['dashboard', '/'],
  ['extensions', '/extensions'],
  ['extension-new', '/extensions?create=true', (page) => page.getByRole('dialog').waitFor()],
  ['users', '/users'],
  ['roles', '/roles'],
  ['groups', '/groups'],
  ['tenants', '/tenants'],
  ['own', '/own'],
  ['registrations', '/registrations'],
  ['phones', '/phones'],
  ['calls', '/calls'],
  ['cdrs', '/cdrs'],
  ['trunks', '/trunks'],
  ['numbers', '/numbers'],
  ['outgoing', '/outgoing'],
  ['incoming', '/incoming'],
  ['hours', '/hours'],
  ['numbering', '/numbering'],
  ['rates', '/rates'],
  ['try', '/try'],
  ['ports', '/ports'],
  ['transports', '/transports'],
  ['certificates', '/certificates'],
  ['addresses', '/addresses'],
  ['security', '/security'],
  ['network', '/network'],
  ['confirm-network', '/confirm-network#NOTHING'],
  ['ssh', '/ssh'],
  ['sign-in-rules', '/sign-in'],
  ['configuration', '/configuration'],
  ['audit', '/audit'],
  ['account', '/account'],
];

/** @param {Watched} w @param {Server} server @param {string} [first] the page it leads to */
export async function signIn(w, { user, password }, first = 'Overview') {
  // The first question, who is signed in, is answered with 401.
  w.expected.push(/401/);
  await w.goto('/login');
  await w.page.getByLabel('User name').fill(user);
  await w.page.getByLabel('Password', { exact: true }).fill(password);
  await w.page.getByRole('button', { name: 'Sign in' }).click();
  await w.page.getByRole('heading', { level: 1, name: first }).waitFor();
  await w.settle();
  w.expected.pop();
}

/** @typedef {readonly [device: string, size: { width: number, height: number }, scheme: 'light' | 'dark']} Look */

/** @type {readonly Look[]} */
const everyLook = [['desktop', desktop, 'light'], ['desktop', desktop, 'dark'], ['phone', phone, 'light'], ['phone', phone, 'dark']];

/**
 * @param {Browser} browser @param {Server} server @param {string} tag
 * @param {{ only?: readonly string[], looks?: readonly Look[] }} [o] fewer pages, fewer looks
 */
export async function everyPage(browser, server, tag, { only, looks = everyLook } = {}) {
  // Two at a time: pages wait more than they work.
  for (let i = 0; i < looks.length; i += 2) {
    await Promise.all(looks.slice(i, i + 2).map(([device, size, scheme]) => round(browser, server, { tag, scheme, device, size, only })));
  }
}

/**
 * Every page in one scheme on one device.
 * @param {Browser} browser @param {Server} server
 * @param {{ tag: string, scheme: 'light' | 'dark', device: string, size: { width: number, height: number }, only: readonly string[] | undefined }} o
 */
async function round(browser, server, { tag, scheme, device, size, only }) {
  const w = await Watched.open(browser, { url: server.url, scheme, size });
  const name = (/** @type {string} */ stop) => `${tag} ${stop} ${scheme} ${device}`;
  const finish = async (/** @type {string} */ stop) => {
    await w.settle();
    await w.shot(`${tag}-${stop}-${scheme}-${device}`);
    await w.check();
  };
  await test(name('login'), async () => {
    w.expected.push(/401/);
    await w.goto('/login');
    await finish('login');
    w.expected.pop();
  });
  await test(name('sign-in'), async () => {
    await signIn(w, server);
    await w.check();
  });
  const wanted = stops.filter(([stop]) => !leftOut(name(stop)) && (only === undefined || only.includes(stop)));
  if (wanted.length > 0 && leftOut(name('sign-in'))) await signIn(w, server);
  for (const [stop, path, then] of wanted) {
    await test(name(stop), async () => {
      await w.goto(path);
      await then?.(w.page);
      await finish(stop);
    });
  }
  await w.close();
}
