// npm run e2e. Without further word it drives the built pages over the mock.
// A real server is named by its facts file, or by hand:
//   RINGFENCE_FACTS=FILE                  what `pbxd -dev -facts FILE` wrote
//   RINGFENCE_URL, RINGFENCE_USER, RINGFENCE_PASSWORD    a server that is set up
//   RINGFENCE_URL, RINGFENCE_TOKEN        one that is not: the wizard is run, for good
//   RINGFENCE_FINGERPRINT                 what its console shows; compared with the page
// RINGFENCE_PART=pages or flows runs that half of what goes over the mock.
// RINGFENCE_SHOTS is the folder for screenshots, ONLY=text runs the tests named so.
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { desktop, launch, phone } from './browser.mjs';
import { flows, lifeOfAnExtension, plainUser } from './flows.mjs';
import { counts } from './harness.mjs';
import { admin, startMock } from './mock/server.mjs';
import { everyPage } from './pages.mjs';
import { wizard } from './wizard.mjs';

if (!process.env.RINGFENCE_URL && !process.env.RINGFENCE_FACTS && !existsSync(fileURLToPath(new URL('../dist/index.html', import.meta.url)))) {
  console.error('the pages are not built: make web');
  process.exit(2);
}

function realServer() {
  const env = process.env;
  if (env.RINGFENCE_FACTS) {
    const facts = JSON.parse(readFileSync(env.RINGFENCE_FACTS, 'utf8'));
    const [someone] = facts.extensions ?? [];
    return { url: facts.admin.url, user: facts.admin.user, password: facts.admin.password, token: facts.admin.token, someone };
  }
  if (env.RINGFENCE_URL) return { url: env.RINGFENCE_URL, user: env.RINGFENCE_USER, password: env.RINGFENCE_PASSWORD, token: env.RINGFENCE_TOKEN };
  return undefined;
}

const part = process.env.RINGFENCE_PART;
const browser = await launch();
try {
  const real = realServer();
  if (real) {
    const url = new URL(real.url).origin;
    let account = { url, user: real.user ?? '', password: real.password ?? '' };
    if (!real.password && real.token) account = await wizard(browser, { url, token: real.token, fingerprint: process.env.RINGFENCE_FINGERPRINT }, 'real');
    // All four looks of each page are seen over the mock.
    await everyPage(browser, account, 'real', { looks: [['desktop', desktop, 'light'], ['phone', phone, 'dark']] });
    await lifeOfAnExtension(browser, account, 'real');
    if (real.someone?.user) await plainUser(browser, { url, user: real.someone.user, password: real.someone.user_password });
  }
  if (!real && part !== 'pages') {
    const fresh = await startMock('fresh');
    await wizard(browser, fresh, 'mock');
    await fresh.close();
    await flows(browser);
  }
  if (!real && part !== 'flows') {
    /** @type {[scenario: import('./mock/server.mjs').Scenario, options?: Parameters<typeof everyPage>[3]][]} */
    const rounds = [
      ['busy'],
      ['empty', { only: ['dashboard', 'extensions', 'registrations', 'calls', 'cdrs', 'audit'], looks: [['desktop', desktop, 'light'], ['desktop', desktop, 'dark']] }],
      ['unfenced', { only: ['dashboard', 'ports'], looks: [['phone', phone, 'light'], ['phone', phone, 'dark']] }],
    ];
    for (const [scenario, options] of rounds) {
      const mock = await startMock(scenario);
      await everyPage(browser, { url: mock.url, user: admin.name, password: admin.password }, scenario, options);
      await mock.close();
    }
  }
} finally {
  await browser.close();
}
console.log(`${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = counts.failed > 0 || counts.passed === 0 ? 1 : 0;
