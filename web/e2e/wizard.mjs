// The whole first-boot wizard, as a person goes through it, with the mistakes people make.
import { phone, Watched } from './browser.mjs';
import { chain, must } from './harness.mjs';

/** @typedef {import('playwright-core').Browser} Browser */

export const chosen = { user: 'ada', password: 'Quiet-Harbour7' };

/**
 * Sets the server up and returns how to sign in to it.
 * @param {Browser} browser @param {{ url: string, token: string, fingerprint?: string }} server @param {string} tag
 */
export async function wizard(browser, server, tag) {
  const w = await Watched.open(browser, { url: server.url });
  const { page } = w;
  const test = chain();
  // Chromium logs every answer that is an error; these are part of the way.
  w.expected.push(/status of (404|422)/);
  const next = () => page.getByTestId('next').click();
  const finish = async (/** @type {string} */ name) => {
    await w.settle();
    await w.shot(`${tag}-setup-${name}-light-desktop`);
    await w.check();
  };

  await test(`${tag} wizard without a token explains where it is`, async () => {
    await w.goto('/');
    await page.getByRole('heading', { name: 'Open the address shown on the console' }).waitFor();
    await finish('no-token');
  });
  await test(`${tag} wizard refuses a wrong token`, async () => {
    const other = await Watched.open(browser, { url: server.url });
    other.expected.push(/status of 404/);
    await other.goto(`/setup#token=${'0'.repeat(server.token.length)}`);
    await other.page.getByRole('heading', { name: 'This set-up link is not valid' }).waitFor();
    await other.check();
    await other.close();
  });
  await test(`${tag} wizard takes the token out of the address`, async () => {
    await page.goto('about:blank');
    await w.goto(`/setup#token=${server.token}`);
    await page.getByRole('heading', { name: 'Welcome' }).waitFor();
    must(!page.url().includes('token'), `the address is still ${page.url()}`);
    must(!(await page.evaluate(() => JSON.stringify(history.state) ?? '')).includes('token'), 'history keeps the token');
    await finish('welcome');
  });
  await test(`${tag} wizard shows the certificate's fingerprint`, async () => {
    const shown = (await page.getByTestId('fingerprint').innerText()).replace(/\s+/g, '').toLowerCase();
    must(/^[0-9a-f]{64}$/.test(shown), `fingerprint ${shown}`);
    if (server.fingerprint) must(shown === server.fingerprint.replace(/[^0-9a-f]/gi, '').toLowerCase(), `page shows ${shown}, console ${server.fingerprint}`);
  });
  await test(`${tag} wizard administrator: weak passwords are refused, naming the rule`, async () => {
    await next();
    await page.getByLabel('User name').fill(chosen.user);
    await page.getByLabel('Last name').fill('Lovelace');
    const broken = async (/** @type {string} */ password, /** @type {string} */ rule) => {
      await page.getByLabel('Password', { exact: true }).fill(password);
      await page.locator(`li[data-rule=${rule}][data-broken]`).waitFor();
      await next();
      must(await page.getByRole('heading', { name: 'Your administrator' }).isVisible(), `${password} was accepted`);
    };
    await broken('12345678!', 'letter');
    await broken('Trumpet!', 'digit');
    await broken('trumpet8', 'upper');
    await broken('Kq1234zp', 'sequence');
    await finish('administrator-weak');
    await broken('Kq222zp8', 'repeat');
    await broken('Lovelace8!', 'account');
    await broken('Tr8!kpw', 'length');
  });
  await test(`${tag} wizard administrator is saved`, async () => {
    await page.getByLabel('Password', { exact: true }).fill(chosen.password);
    await page.getByLabel('Password again').fill(chosen.password + 'x');
    await next();
    await page.getByText('The two are not equal').waitFor();
    await page.getByLabel('Password again').fill(chosen.password);
    await finish('administrator');
    await next();
    await page.getByRole('heading', { name: 'Domain and numbers' }).waitFor();
  });
  await test(`${tag} wizard goes on where it was after a reload`, async () => {
    await page.reload();
    await page.getByRole('heading', { name: 'Domain and numbers' }).waitFor();
  });
  await test(`${tag} wizard domain: the server's reason stands at its field`, async () => {
    await page.getByLabel('Organisation').fill('Analytical Engines');
    await page.getByLabel('SIP domain').fill('not_a_domain');
    await next();
    await page.getByText('May only hold letters a-z, digits, hyphens and dots').waitFor();
    await w.check();
    await page.getByLabel('SIP domain').fill('pbx.engines.example');
    await page.getByLabel('First extension').fill('101');
    await page.getByLabel('Last extension').fill('99');
    await next();
    await page.getByText('Needs as many digits as the first').waitFor();
    await page.getByLabel('Last extension').fill('199');
    await finish('domain');
    await next();
    await page.getByRole('heading', { name: 'First extensions' }).waitFor();
  });
  await test(`${tag} wizard extensions by list and their passwords`, async () => {
    await finish('extensions-count');
    await page.getByText('By list').click();
    await page.getByLabel('One a line').fill('101 Ada Lovelace\n500 Outside');
    await page.getByText('Line 2: the number is not between 101 and 199').waitFor();
    await page.getByLabel('One a line').fill('101 Ada Lovelace\n102 Reception\n103 Workshop');
    await finish('extensions-list');
    await next();
    await page.getByText('The passwords are shown only now').waitFor();
    const passwords = await page.getByTestId('sip-password').allInnerTexts();
    must(passwords.length === 3 && new Set(passwords).size === 3 && passwords.every((p) => p.length >= 20), `passwords: ${passwords.length}`);
    await finish('extensions-made');
    const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download CSV' }).click()]);
    must(file.suggestedFilename() === 'extensions.csv', file.suggestedFilename());
  });
  await test(`${tag} wizard review and finish`, async () => {
    await next();
    await page.getByRole('heading', { name: 'Ready to start' }).waitFor();
    for (const value of [chosen.user, 'Analytical Engines', 'pbx.engines.example', '101 – 199', '3 created']) await page.getByText(value, { exact: true }).waitFor();
    await finish('review');
    await page.getByTestId('finish').click();
    await page.getByRole('heading', { name: 'Ringfence is running' }).waitFor();
    await finish('ready');
  });
  await test(`${tag} wizard offers the QR code of each phone`, async () => {
    await page.getByRole('button', { name: 'QR code' }).first().click();
    await page.getByRole('img', { name: /QR code with the set-up address of extension 101/ }).waitFor();
    await finish('qr');
    await page.keyboard.press('Escape');
  });
  await test(`${tag} wizard ends in the portal`, async () => {
    page.once('dialog', (d) => void d.accept());
    await page.getByTestId('to-portal').click();
    await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
    await w.check();
    must((await page.evaluate(() => sessionStorage.length)) === 0 || !(await page.evaluate(() => JSON.stringify(sessionStorage))).includes(server.token), 'the token is kept');
  });
  await test(`${tag} wizard is closed for ever`, async () => {
    const other = await Watched.open(browser, { url: server.url, size: phone });
    other.expected.push(/status of (404|401)/);
    await other.goto(`/setup#token=${server.token}`);
    await other.page.getByRole('heading', { name: 'This set-up link is not valid' }).waitFor();
    await other.check();
    await other.close();
  });
  await w.close();
  return { url: server.url, ...chosen };
}
