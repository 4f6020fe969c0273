// A web phone for tests written in another language: JsSIP in Chromium. Reads
// commands on standard input, a JSON object a line:
//   {"id":1,"page":"a","do":"open","with":{"origin":"https://10.77.0.1:5001"}}
//   {"id":2,"page":"a","do":"call","with":{"to":"sip:102@pbx.example"}}
// Everything but "open" is a function of window.phone in page.mjs. Answers and
// events come on standard output, a JSON object a line.
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { build } from 'vite';

/** @param {unknown} o */
const say = (o) => process.stdout.write(`${JSON.stringify(o)}\n`);

async function bundle() {
  const made = await build({
    configFile: false, logLevel: 'silent', publicDir: false,
    build: { write: false, minify: false, lib: { entry: fileURLToPath(new URL('page.mjs', import.meta.url)), formats: ['iife'], name: 'webphone' } },
  });
  const [first] = Array.isArray(made) ? made : [made];
  if (!first || !('output' in first)) throw new Error('nothing was bundled');
  return first.output[0].code;
}

const script = await bundle();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', '--autoplay-policy=no-user-gesture-required', '--ignore-certificate-errors', '--disable-features=WebRtcHideLocalIpsWithMdns,LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets',
  ],
});
/** @type {Map<string, import('playwright-core').Page>} */
const pages = new Map();

/**
 * Opens a page of an origin without that origin serving it: the address, and
 * with it what the browser says of itself, is all that is wanted.
 * @param {string} name
 * @param {{ origin: string }} o
 */
async function open(name, { origin }) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  await page.route(`${origin}/phone`, (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>phone</title>' }));
  page.on('pageerror', (e) => say({ page: name, event: 'pageerror', detail: e.message }));
  page.on('console', (m) => say({ page: name, event: 'console', detail: m.text() }));
  await page.exposeFunction('told', (/** @type {string} */ event, /** @type {object} */ more) => say({ page: name, event, ...more }));
  await page.goto(`${origin}/phone`);
  await page.addScriptTag({ content: script });
  pages.set(name, page);
}

/** @param {{ page: string, do: string, with: any }} c */
async function obey(c) {
  if (c.do === 'open') return open(c.page, c.with);
  const page = pages.get(c.page);
  if (!page) throw new Error(`no page ${c.page}`);
  // @ts-ignore window.phone is page.mjs
  return page.evaluate(([name, args]) => window.phone[name](args), [c.do, c.with ?? {}]);
}

say({ event: 'ready' });
for await (const line of createInterface({ input: process.stdin })) {
  const c = JSON.parse(line);
  try {
    say({ id: c.id, result: (await obey(c)) ?? null });
  } catch (e) {
    say({ id: c.id, error: e instanceof Error ? e.message : String(e) });
  }
}
await browser.close();
