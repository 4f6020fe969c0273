// What people do in the portal, and what happens when things go wrong; over the mock.
import { desktop, phone, Watched } from './browser.mjs';
import { must, test } from './harness.mjs';
import { admin, startMock } from './mock/server.mjs';
import { inviteToken, noHandling } from './mock/data.mjs';
import { signIn } from './pages.mjs';

/** @typedef {import('playwright-core').Browser} Browser */
/** @typedef {Awaited<ReturnType<typeof startMock>>} Running */

/**
 * Runs one flow in a fresh portal, signed in, and checks the page afterwards.
 * @param {Browser} browser @param {string} name @param {(w: Watched, server: Running) => Promise<void>} run
 */
async function flow(browser, name, run) {
  await test(`flow ${name}`, async () => {
    const server = await startMock('busy');
    const w = await Watched.open(browser, { url: server.url });
    try {
      await signIn(w, { url: server.url, user: admin.name, password: admin.password });
      await run(w, server);
      await w.check();
    } finally {
      await w.close();
      await server.close();
    }
  });
}

/** @param {Browser} browser */
export async function flows(browser) {
  await flow(browser, 'a packet filter of another program is an alarm', async (w, server) => {
    server.mock.complaint = 'another program filters packets too, and its drops win: inet ufw';
    await w.goto('/');
    await w.page.getByText('The packet filter is not alone').waitFor();
    await w.page.getByText('inet ufw').waitFor();
    await w.settle();
    await w.shot('flow-foreign-filter');
  });

  await flow(browser, 'a document is looked at, applied, and a revision returned to', async (w, { mock }) => {
    const { page } = w;
    await w.goto('/configuration');
    const downloading = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Without passwords' }).click();
    must((await downloading).suggestedFilename() === 'ringfence.yaml', 'the download has another name');
    const document = page.getByRole('textbox', { name: 'Document' });
    const see = page.getByRole('button', { name: 'See what would change' });
    w.expected.push(/422/);
    await document.fill('version: 1\ncolour: green\n');
    await see.click();
    await page.getByText('Line 2').waitFor();
    await page.getByText('tenants[pbx.engines.example].colour: there is no such field').waitFor();
    await w.settle();
    await w.shot('flow-configuration-refused');
    await w.check();
    w.expected.pop();
    await page.setInputFiles('input[type=file]', {
      name: 'office.yaml', mimeType: 'application/yaml',
      buffer: Buffer.from('version: 1\nbox:\n  ports:\n    - name: web\n      port: 8443\ntenants:\n  - domain: pbx.engines.example\n    extensions:\n      - number: "102"\n'),
    });
    await see.click();
    const plan = page.getByRole('region', { name: 'What would change' });
    await plan.getByText('1 added, 1 changed, 1 removed').waitFor();
    await plan.getByText('Line 5').waitFor();
    await w.settle();
    await w.shot('flow-configuration-plan');
    await w.check();
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.setViewportSize(phone);
    await w.settle();
    await w.shot('flow-configuration-plan-dark-phone');
    await w.check();
    await page.emulateMedia({ colorScheme: 'light' });
    await page.setViewportSize(desktop);
    await plan.getByRole('button', { name: 'Apply' }).click();
    const deed = page.getByTestId('deed');
    must(await deed.isDisabled(), 'an organisation goes without its name');
    await page.getByLabel(/To go on, type/).fill('pbx.harbour.example');
    await w.settle();
    await w.shot('flow-configuration-deed');
    await w.check();
    await deed.click();
    const trial = page.getByRole('region', { name: /The change is tried/ });
    await trial.getByText('the port of the portal').waitFor();
    await plan.waitFor({ state: 'detached' });
    must(mock.yaml.includes('8443'), 'it was not applied');
    await trial.getByRole('button', { name: 'Take it back now' }).click();
    await trial.waitFor({ state: 'detached' });
    must(!mock.yaml.includes('8443'), 'it was not taken back');
    await page.getByRole('button', { name: 'Compare' }).nth(3).click();
    await page.getByRole('region', { name: 'What returning to revision 57 would change' }).waitFor();
    await page.getByRole('button', { name: 'Return to this' }).last().click();
    await deed.click();
    await trial.waitFor();
    must(mock.yaml.includes('8443'), 'it was not returned to');
  });

  await flow(browser, 'a trunk begins with its kind, and a refusal stands at its field', async (w) => {
    const { page } = w;
    await w.goto('/trunks');
    await page.getByText('Password refused').waitFor();
    await page.getByRole('button', { name: 'Add trunk' }).click();
    const dialog = page.getByRole('dialog');
    must(await dialog.getByLabel(/By IP address/).isChecked(), 'the recommended kind is not chosen');
    await dialog.getByLabel(/^Registers with/).check();
    await dialog.getByLabel('Name', { exact: true }).fill('City');
    await dialog.getByLabel('Provider’s address').fill('127.0.0.1');
    await w.settle();
    await w.shot('flow-trunk');
    w.expected.push(/422/);
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.getByText('Must not be the machine itself').waitFor();
    w.expected.pop();
    await dialog.getByLabel('Provider’s address').fill('sip.city.example');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await page.getByText('City saved').waitFor();
  });

  await flow(browser, 'a rule opens with what it has', async (w) => {
    const { page } = w;
    await w.goto('/outgoing');
    await page.getByText('Abroad').click();
    await page.getByRole('dialog').getByLabel('Name', { exact: true }).waitFor();
    await w.settle();
    await w.shot('flow-outgoing');
    await w.goto('/incoming');
    await page.getByText('Main number').click();
    await page.getByRole('dialog').getByLabel('While closed').waitFor();
    await w.settle();
    await w.shot('flow-incoming');
    await w.goto('/hours');
    await page.getByRole('button', { name: 'Edit' }).first().click();
    await page.getByRole('dialog').getByLabel('Monday').waitFor();
    await w.settle();
    await w.shot('flow-hours');
  });

  await flow(browser, 'a dry run says what is sent and why', async (w) => {
    const { page } = w;
    await w.goto('/try');
    await page.getByLabel('Number that is dialled').fill('00043123456');
    await page.getByRole('button', { name: 'Try', exact: true }).click();
    await page.getByText('is tried with +43123456').waitFor();
    await page.getByText('0.0210 EUR a minute').waitFor();
    await w.settle();
    await w.shot('flow-try');
  });

  await flow(browser, 'a second factor is set up, and asked for from then on', async (w, server) => {
    const { page } = w;
    server.mock.mustSetUp = true;
    await w.goto('/calls');
    await page.getByText('Set up a second factor').waitFor();
    await page.getByRole('button', { name: 'Set up an authenticator app' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Your password').fill('wrong');
    w.expected.push(/403/);
    await dialog.getByRole('button', { name: 'Continue' }).click();
    await dialog.getByText('This is not your password').waitFor();
    w.expected.pop();
    await dialog.getByLabel('Your password').fill(admin.password);
    await dialog.getByRole('button', { name: 'Continue' }).click();
    await dialog.getByRole('img', { name: /QR code/ }).waitFor();
    w.expected.push(/422/);
    await dialog.getByLabel('Code the app shows now').fill('000000');
    await dialog.getByRole('button', { name: 'Turn it on' }).click();
    await dialog.getByText('Is not the code the app shows').waitFor();
    w.expected.pop();
    await w.settle();
    await w.shot('flow-second-factor-scan');
    await w.check();
    await dialog.getByLabel('Code the app shows now').fill('123456');
    await dialog.getByRole('button', { name: 'Turn it on' }).click();
    must((await dialog.getByRole('listitem').count()) === 10, 'ten recovery codes are not shown');
    await w.settle();
    await w.shot('flow-second-factor-codes');
    await w.check();
    await dialog.getByRole('button', { name: 'I have kept them' }).click();
    await page.getByText('10 recovery codes left').waitFor();
    await page.getByRole('link', { name: 'Live calls' }).waitFor();
    // From now on the log-in has two steps.
    await page.getByRole('button', { name: /Ada Lovelace/ }).click();
    await page.getByRole('menuitem', { name: 'Sign out' }).click();
    w.expected.push(/40[13]/);
    await page.getByLabel('User name').fill(admin.name);
    await page.getByLabel('Password', { exact: true }).fill(admin.password);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'One more step' }).waitFor();
    await page.getByLabel('Code').fill('111111');
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByText('The code is wrong or was used').waitFor();
    await w.settle();
    await w.shot('flow-second-step');
    await w.check();
    await page.getByLabel('Code').fill('123456');
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
    w.expected.pop();
  });

  await flow(browser, 'sessions of the own account are ended', async (w) => {
    const { page } = w;
    await w.goto('/account');
    await page.getByText('Safari 18, iOS').waitFor();
    await page.getByRole('row', { name: /Safari 18/ }).getByRole('button', { name: 'Sign out' }).click();
    await page.getByText('Safari 18, iOS').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Sign out everywhere else' }).click();
    await page.getByText('Firefox 143').waitFor({ state: 'detached' });
    await w.settle();
    await w.shot('flow-sessions');
  });

  await flow(browser, 'the password policy is changed, and new passwords are judged by it', async (w, server) => {
    const { page } = w;
    await w.goto('/sign-in');
    const panel = page.getByRole('region', { name: 'People of the organisation' });
    await panel.getByLabel('Passwords are judged by').click();
    await page.getByRole('option', { name: /NIST/ }).click();
    must((await panel.getByLabel('Fewest characters').inputValue()) === '15', 'the mode does not bring its length');
    await panel.getByLabel('Fewest characters').fill('12');
    w.expected.push(/422/);
    await panel.getByRole('button', { name: 'Save' }).click();
    await panel.getByText('Must be between 15 and 128').waitFor();
    w.expected.pop();
    await w.settle();
    await w.shot('flow-password-policy');
    await panel.getByLabel('Fewest characters').fill('20');
    await panel.getByRole('button', { name: 'Save' }).click();
    await page.getByText('It applies to the next password').waitFor();
    must(server.mock.signIn.passwords.min === 20, 'the policy was not sent');
    await page.getByRole('button', { name: /Ada Lovelace/ }).click();
    await page.getByRole('menuitem', { name: 'Your account' }).click();
    await page.getByText('20 to 128 characters').waitFor();
    must((await page.getByText('A digit', { exact: true }).count()) === 0, 'rules that do not hold are shown');
  });

  await flow(browser, 'an API token is made, shown once, and deleted', async (w) => {
    const { page } = w;
    await w.goto('/account');
    await page.getByRole('button', { name: 'New token' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name').fill('nightly backup');
    await dialog.getByLabel('Only from these networks').fill('all');
    w.expected.push(/422/);
    await dialog.getByRole('button', { name: 'Make token' }).click();
    await dialog.getByText('Must be networks such as').waitFor();
    w.expected.pop();
    await dialog.getByLabel('Only from these networks').fill('192.0.2.0/24');
    await dialog.getByRole('button', { name: 'Make token' }).click();
    await dialog.getByText(/^rfence_/).waitFor();
    await w.settle();
    await w.shot('flow-token');
    await w.check();
    await dialog.getByRole('button', { name: 'I have kept it' }).click();
    await page.getByRole('row', { name: /nightly backup/ }).getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete token' }).click();
    await page.getByText('No tokens', { exact: true }).waitFor();
    await dialog.waitFor({ state: 'detached' });
  });

  await flow(browser, 'an invitation leads to the first password', async (w, server) => {
    const { page } = w;
    await page.goto('about:blank');
    w.expected.push(/404/);
    await w.goto('/invite#nothing');
    await page.getByText('This invitation cannot be used').waitFor();
    w.expected.pop();
    await page.goto('about:blank');
    await w.goto(`/invite#${inviteToken}`);
    await page.getByText('Choose the password for zoe').waitFor();
    must(!page.url().includes(inviteToken), 'the secret stays in the address');
    await page.getByLabel('Password', { exact: true }).fill('Quiet-Zoe-Harbour7');
    must((await page.locator('[data-rule="account"][data-broken]').count()) === 1, 'the own name is not refused');
    await page.getByLabel('Password', { exact: true }).fill('Quiet-Harbour7-8');
    await page.getByLabel('Password again').fill('Quiet-Harbour7-8');
    await w.settle();
    await w.shot('flow-invite');
    await w.check();
    await page.getByRole('button', { name: 'Set password and sign in' }).click();
    await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
    must(server.mock.open, 'the portal is closed');
  });

  await flow(browser, 'a sign-in provider is set, has a button, and people come back from it', async (w) => {
    const { page } = w;
    await w.goto('/sign-in');
    const panel = page.getByRole('region', { name: /Sign-in provider/ });
    await panel.getByLabel('People may sign in by it').check({ force: true });
    await panel.getByLabel('Issuer').fill('https://id.engines.example');
    await panel.getByLabel('Client ID').fill('ringfence');
    await panel.getByLabel('Domains of its e-mail').fill('engines.example');
    await panel.getByLabel('Button on the sign-in page').fill('Engines account');
    w.expected.push(/422/);
    await panel.getByRole('button', { name: 'Save' }).click();
    await panel.getByText('Is needed for a new issuer').waitFor();
    w.expected.pop();
    await panel.getByLabel('Client secret').fill('not-so-secret');
    await w.settle();
    await w.shot('flow-sso-settings');
    await w.check();
    await panel.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Saved.').waitFor();
    await page.getByRole('button', { name: /Ada Lovelace/ }).click();
    await page.getByRole('menuitem', { name: 'Sign out' }).click();
    w.expected.push(/40[01]/);
    await page.getByRole('button', { name: 'Engines account' }).waitFor();
    await w.settle();
    await w.shot('flow-sso-login');
    await w.check();
    await w.goto('/sso?state=bad&code=x');
    await page.getByText('The sign-in at your provider failed').waitFor();
    await w.goto('/sso?state=good&code=x');
    await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
    w.expected.pop();
  });

  await flow(browser, 'a call tells how it sounds', async (w) => {
    const { page } = w;
    await w.goto('/calls');
    await page.locator('[data-row="c-1"]').getByText('Bad').waitFor();
    await page.locator('[data-row="c-2"]').getByRole('img', { name: 'AES-256-GCM / AES-256-CM' }).waitFor();
    await page.locator('[data-row="c-1"]').click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('This call sounded bad').waitFor();
    await dialog.getByRole('img', { name: /what comes from 109/ }).waitFor();
    must((await dialog.getByText('Not encrypted').count()) === 2, 'a leg in the clear is not named');
    await w.settle();
    await w.shot('flow-call-quality');
    await w.check();
    await dialog.getByRole('button', { name: 'Close' }).click();
    await w.goto('/cdrs');
    await page.locator('tr[data-row]', { hasText: 'Bad' }).first().click();
    await page.getByRole('dialog').getByText('This call sounded bad').waitFor();
    await w.settle();
    await w.shot('flow-record-quality');
  });

  await flow(browser, 'an extension is created, and its account shown once', async (w) => {
    const { page } = w;
    await w.goto('/extensions');
    await page.getByRole('button', { name: 'New extension' }).click();
    const dialog = page.getByRole('dialog');
    must((await dialog.getByLabel('Number').inputValue()) === '113', 'the next free number is not suggested');
    await dialog.getByLabel('Number').fill('101');
    await dialog.getByRole('button', { name: 'Create extension' }).click();
    await dialog.getByText('This number exists already').waitFor();
    await dialog.getByLabel('Number').fill('150');
    await dialog.getByLabel('Name').fill('Night porter');
    await dialog.getByRole('button', { name: 'Create extension' }).click();
    await dialog.getByText('The password is shown only now').waitFor();
    await dialog.getByRole('img', { name: /QR code/ }).waitFor();
    await w.settle();
    await w.shot('flow-extension-made');
    await w.check();
    await dialog.getByRole('button', { name: 'Close' }).last().click();
    await page.getByRole('button', { name: '150' }).waitFor();
  });

  await flow(browser, 'an extension is renamed, gets a new password, and is deleted', async (w) => {
    const { page } = w;
    await w.goto('/extensions?number=104');
    const drawer = page.getByRole('dialog').first();
    await w.settle();
    await w.shot('flow-extension');
    await w.check();
    await drawer.getByRole('textbox', { name: 'Name' }).fill('Machine shop');
    await drawer.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Saved').waitFor();
    await drawer.getByRole('button', { name: 'New SIP password' }).click();
    await page.getByText(/cut off when its registration runs out/).waitFor();
    await w.settle();
    await w.shot('flow-confirm');
    await w.check();
    await page.getByTestId('deed').filter({ hasText: 'New SIP password' }).click();
    await drawer.getByText('The password is shown only now').waitFor();
    await drawer.getByRole('button', { name: 'Delete extension' }).click();
    await page.getByText(/The number 104 can no longer be called/).waitFor();
    await page.getByTestId('deed').filter({ hasText: 'Delete extension' }).click();
    await page.getByText('Extension 104 was deleted').waitFor();
    must((await page.locator('[data-row="104"]').count()) === 0, 'the row is still there');
  });

  await flow(browser, 'how calls of an extension are encrypted is chosen', async (w, { mock }) => {
    const { page } = w;
    await w.goto('/extensions?number=104');
    const drawer = page.getByRole('dialog').first();
    must(await drawer.getByRole('radio', { name: 'Whenever possible' }).isChecked(), 'the present choice is not shown');
    await drawer.getByRole('radio', { name: 'Always, with 256-bit keys' }).check();
    await drawer.getByText('keys of 128 bits are refused too').waitFor();
    await w.settle();
    await drawer.getByRole('radiogroup', { name: 'Encryption of calls' }).scrollIntoViewIfNeeded();
    await w.shot('flow-encryption');
    await drawer.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Saved').waitFor();
    must(mock.extensions.find((e) => e.number === '104')?.media_security === 'require-256', 'it was not saved');
  });

  await flow(browser, 'rules of calls are refused at their field, and nothing that was typed is lost', async (w, { mock }) => {
    const { page } = w;
    w.expected.push(/422/);
    await w.goto('/phones');
    const panel = page.getByRole('region', { name: 'Calls' });
    await panel.getByRole('radio', { name: 'Always', exact: true }).check();
    await panel.getByLabel('A session lasts').fill('100');
    await panel.getByLabel('Shortest session a phone may ask for').fill('600');
    await panel.getByRole('combobox', { name: 'Tones of' }).fill('germ');
    await page.getByRole('option', { name: 'Germany' }).click();
    await panel.getByRole('button', { name: 'Save' }).click();
    await panel.getByText('Must be between the shortest session and 86400').waitFor();
    await w.settle();
    await w.shot('flow-call-rules-refused');
    must((await panel.getByLabel('Shortest session a phone may ask for').inputValue()) === '600 s', 'what was typed is gone');
    await panel.getByLabel('A session lasts').fill('1200');
    await panel.getByRole('button', { name: 'Save' }).click();
    await page.getByText('It applies to new calls').waitFor();
    const { calls } = mock.phoneSettings;
    must(calls.media_security === 'require' && calls.session_expires_seconds === 1200 && calls.tones === 'DE' && calls.dead_media_seconds === 600, JSON.stringify(calls));
  });

  await flow(browser, 'who is banned on SIP reads why, wherever in the portal, and ends it', async (w, { mock }) => {
    const { page } = w;
    mock.address = '203.0.113.66';
    await w.goto('/cdrs');
    await page.getByText('Your address 203.0.113.66 gets no answer on SIP').waitFor();
    await w.settle();
    await w.shot('flow-own-ban');
    await page.getByRole('button', { name: 'End it now' }).click();
    await page.getByText('Your address gets answers again').waitFor();
    await page.getByText('gets no answer on SIP').waitFor({ state: 'detached' });
    must(!mock.bans.some((b) => b.source === mock.address && b.scope === 'sip'), 'the ban is there');
  });

  await flow(browser, 'a ban is taken back, a source is let in for good, and nobody blocks themselves by mistake', async (w, { mock }) => {
    const { page } = w;
    w.expected.push(/409/, /422/);
    await w.goto('/security');
    await page.getByText('level 2: more than 2000 packets per second').waitFor();
    await page.getByText('Closed ports').waitFor();
    await w.settle();
    await w.shot('flow-security-live');
    must((await page.locator('img[src="x"]').count()) === 0, 'a User-Agent became part of the page');
    await page.getByText('30 days', { exact: true }).click();
    await page.getByText('Packets, 30 days').waitFor();
    await page.getByRole('tab', { name: 'Banned now' }).click();
    await page.getByText('friendly-scanner').waitFor();
    must((await page.locator('img[src="x"]').count()) === 0, 'a User-Agent became part of the page');
    await page.getByLabel('IP address').fill('203.0.113.66');
    await page.getByLabel('Port, if any').fill('5060');
    await page.getByRole('button', { name: 'Look' }).click();
    await page.getByText('Dropped: it is banned from the SIP ports').waitFor();
    await page.getByText('203.0.113.66: Banned').waitFor();
    await w.settle();
    await w.shot('flow-security-bans');
    const row = (/** @type {string} */ text) => page.getByRole('row').filter({ hasText: text });
    await row('198.51.100.23').getByRole('button', { name: 'Take back' }).click();
    await page.getByText('198.51.100.23 gets answers again').waitFor();
    await row('203.0.113.66').getByRole('button', { name: 'Always let in' }).click();
    await page.getByLabel('Note').fill('the new branch');
    await page.getByTestId('deed').click();
    await page.getByText('203.0.113.66 is always let in').waitFor();
    must(mock.bans.length === 2 && mock.addressRules[0]?.note === 'the new branch', JSON.stringify(mock.bans));
    await page.getByRole('tab', { name: 'Addresses' }).click();
    await page.getByText('the new branch').waitFor();
    await page.getByLabel('Address or network').fill('pbx.example');
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.getByText('Must begin with an IP address').waitFor();
    await page.getByLabel('Address or network').fill('192.168.10.0/24');
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.getByText('you would be shut out yourself').waitFor();
    await w.settle();
    await w.shot('flow-security-list');
    await page.getByRole('button', { name: 'Block it all the same' }).click();
    await page.getByText('192.168.10.0 to 192.168.10.255').waitFor();
    await row('192.168.10.0/24').getByRole('button', { name: 'Remove' }).click();
    await page.getByText('192.168.10.0/24 is off the list').waitFor();
    await page.getByRole('tab', { name: 'Detection' }).click();
    await page.getByLabel('Level 2', { exact: true }).fill('400');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Must be above level 1').waitFor();
    await page.getByLabel('Level 2', { exact: true }).fill('2500');
    await page.getByLabel('Wrong passwords', { exact: true }).fill('20');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Saved, and in force').waitFor();
    must(mock.protection.wrong_answers === 20 && mock.protection.level2 === 2500, JSON.stringify(mock.protection));
    await w.settle();
    await w.shot('flow-security-detection');
    await w.check();
  });

  await flow(browser, 'the operator shell wants a key before it opens, and never a private one', async (w, { mock }) => {
    const { page } = w;
    w.expected.push(/422/);
    await w.goto('/ssh');
    const open = page.getByRole('button', { name: 'Switch on' });
    must(await open.isDisabled(), 'it can be switched on without a key');
    await page.getByRole('button', { name: 'Add key' }).first().click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Label').fill('Ada');
    await dialog.getByLabel('Public key').fill('-----BEGIN OPENSSH PRIVATE KEY-----');
    await dialog.getByRole('button', { name: 'Add key' }).click();
    await page.getByText('Is a private key').waitFor();
    await dialog.getByLabel('Public key').fill('ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA ada@example');
    await dialog.getByRole('button', { name: 'Add key' }).click();
    await page.getByText('Ada may log in').waitFor();
    await open.click();
    await page.getByText('Port 10210 opens for').waitFor();
    await w.settle();
    await w.shot('flow-ssh-open');
    await page.getByTestId('deed').click();
    await page.getByText('The operator shell is on').waitFor();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    must(mock.ssh.enabled && mock.ssh.keys.length === 1, JSON.stringify(mock.ssh));
    await w.settle();
    await w.shot('flow-ssh');
    await w.check();
  });

  await flow(browser, 'in a cloud, filtering by port is left to it and taken back', async (w, { mock }) => {
    const { page } = w;
    w.expected.push(/409/);
    await w.goto('/ports');
    await page.getByRole('button', { name: 'Leave it to the cloud' }).click();
    await page.getByText('can then be reached by whoever the rules of AWS let in').waitFor();
    await w.settle();
    await w.shot('flow-cloud-mode');
    await page.getByTestId('deed').click();
    await page.getByText('Ports are filtered by AWS alone').waitFor();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    must(mock.portFilter === 'cloud', mock.portFilter);
    await page.getByRole('button', { name: 'Keep this change' }).click();
    await page.getByText('The change is kept').waitFor();
    await page.getByRole('region', { name: /The change is tried/ }).waitFor({ state: 'detached' });
    must(mock.trial === null && mock.oldPath < 0, 'it was not confirmed by a second connection');
    await page.getByRole('button', { name: 'Filter on this box' }).click();
    await page.getByTestId('deed').click();
    await page.getByText('This box filters by port again').waitFor();
    must(mock.trial !== null, 'the way back is not tried');
    must(/** @type {string} */ (mock.portFilter) === 'filter' && (await page.getByText('Ports are filtered by AWS alone').count()) === 0, 'not taken back');
    await w.check();
  });

  await flow(browser, 'the packet filter is switched off entirely with typed words only', async (w, { mock }) => {
    const { page } = w;
    w.expected.push(/409/);
    await w.goto('/ports');
    await page.getByRole('button', { name: 'Switch off entirely' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('blocked addresses and banned attackers get through').waitFor();
    must(await dialog.getByTestId('deed').isDisabled(), 'it can be switched off without a word');
    await dialog.getByLabel(/To go on, type/).fill('yes');
    must(await dialog.getByTestId('deed').isDisabled(), 'any word does');
    await dialog.getByLabel(/To go on, type/).fill('switch the packet filter off');
    await w.settle();
    await w.shot('flow-filter-off');
    await w.check();
    await dialog.getByTestId('deed').click();
    await page.getByText('The packet filter is switched off entirely').waitFor();
    must(/** @type {string} */ (mock.portFilter) === 'off', mock.portFilter);
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Keep this change' }).click();
    await page.getByRole('region', { name: /The change is tried/ }).waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Filter on this box' }).click();
    await page.getByTestId('deed').click();
    await page.getByText('This box filters by port again').waitFor();
  });

  await flow(browser, 'a port is for some zones and sources only', async (w, { mock }) => {
    const { page } = w;
    w.expected.push(/422/, /409/);
    await w.goto('/ports');
    await page.getByRole('button', { name: 'Change SIP over UDP' }).click();
    const dialog = page.getByRole('dialog');
    must((await dialog.getByLabel('Open this port').count()) === 0, 'a transport is switched off here');
    await dialog.getByLabel('Phones: interfaces of the zone voice').uncheck();
    await dialog.getByLabel('Only these sources').fill('203.0.113.0/255.255.255.0\nprovider.example');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.getByText('names are not looked up').waitFor();
    await w.settle();
    await w.shot('flow-port');
    await w.check();
    await dialog.getByLabel('Only these sources').fill('203.0.113.0/24\n2001:db8::/32');
    await dialog.getByLabel('Port', { exact: true }).fill('5080');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await page.getByText('outside, provider; only 2 sources').waitFor();
    const sip = mock.ports.find((p) => p.id === 'sip-udp');
    must(sip?.first === 5080 && sip.zones.join() === 'wan,trunk' && sip.sources.length === 2, JSON.stringify(sip));
    await page.getByRole('button', { name: 'Change Web portal and REST API' }).click();
    await dialog.getByLabel('Only these sources').fill('198.51.100.0/24');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.getByText('you would be shut out yourself').waitFor();
    await w.settle();
    await w.shot('flow-port-doubt');
    await dialog.getByRole('button', { name: 'Change it all the same' }).click();
    await page.getByText('Web portal and REST API is changed').waitFor();
    await w.shot('flow-ports-changed');
  });

  await flow(browser, 'a change that could shut out is counted down on every page, taken back and kept', async (w, { mock }) => {
    const { page } = w;
    w.expected.push(/409/);
    const change = async () => {
      await w.goto('/ports');
      await page.getByRole('button', { name: 'Leave it to the cloud' }).click();
      await page.getByTestId('deed').click();
    };
    const trial = page.getByRole('region', { name: /The change is tried/ });
    await change();
    await trial.getByText('It could have shut you out (who filters by port)').waitFor();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await w.settle();
    await w.shot('flow-trial');
    await w.check();
    await page.getByRole('link', { name: 'Extensions' }).click();
    await page.getByRole('heading', { name: 'Extensions' }).waitFor();
    await trial.getByRole('button', { name: 'Take it back now' }).click();
    await page.getByText('Taken back on request').or(page.getByText('taken back on request')).waitFor();
    await trial.waitFor({ state: 'detached' });
    must(mock.portFilter === 'filter', mock.portFilter);
    await w.settle();
    await w.shot('flow-trial-taken-back');
    await page.getByRole('button', { name: 'Dismiss' }).click();
    must((await page.getByText('taken back on request').count()) === 0, 'it cannot be dismissed');
    // What the server takes back is gone here too.
    await change();
    await trial.waitFor();
    mock.takeBack('not confirmed in time');
    await page.getByText('not confirmed in time').waitFor();
    await page.getByText('Ports are filtered by AWS alone').waitFor({ state: 'detached' });
    // The portal moves: the browser goes along, and there it is confirmed.
    mock.movesTo = mock.origin.replace('localhost', '127.0.0.1').replace(/^http:/, 'https:');
    mock.oldPath = 0;
    await change();
    await trial.getByText(/The portal is at .* now/).waitFor();
    await w.settle();
    await w.shot('flow-trial-moves');
    await w.goto('/confirm-settings#TRIALID');
    await page.getByRole('button', { name: 'Keep the change' }).click();
    await page.getByText('The settings stay as they are now').waitFor();
    must(mock.trial === null && /** @type {string} */ (mock.portFilter) === 'cloud', 'it was not kept');
  });

  await flow(browser, 'the network moves, and the change is confirmed at the new address', async (w, server) => {
    const { page } = w;
    const { mock } = server;
    w.expected.push(/422/, /409/);
    await w.goto('/network');
    const eth0 = page.getByRole('region', { name: 'eth0', exact: true });
    must(await eth0.getByLabel('IPv4 address by DHCP').isChecked(), 'DHCP is not shown as on');
    must(!(await page.getByRole('region', { name: 'eth1' }).getByLabel('Use this interface').isChecked()), 'an unused interface is shown as used');
    await eth0.getByLabel('IPv4 address by DHCP').uncheck();
    await eth0.getByLabel('Static addresses').fill('192.168.10.7');
    await eth0.getByLabel('Router for IPv4').fill('192.168.10.1');
    await page.getByRole('button', { name: 'Add VLAN' }).click();
    const vlan = page.getByRole('region', { name: 'VLAN 1 on eth0' });
    await vlan.getByRole('button', { name: 'More' }).click();
    await vlan.getByLabel('Packets per second').fill('20000');
    await vlan.getByLabel('Packets per second').scrollIntoViewIfNeeded();
    await w.settle();
    await w.shot('flow-network-limit');
    await vlan.getByLabel('VLAN id').fill('30');
    await page.getByRole('button', { name: 'Remove VLAN 20 on eth0' }).click();
    await page.getByRole('button', { name: 'Try the change' }).click();
    await eth0.getByText('Must be an address with its prefix length').waitFor();
    await w.settle();
    await w.shot('flow-network-refused');
    await w.check();
    await eth0.getByLabel('Static addresses').fill('192.168.10.7/24');
    await page.getByRole('button', { name: 'Try the change' }).click();
    const trial = page.getByRole('region', { name: /The change is tried/ });
    const link = trial.getByRole('link', { name: /Go to 192.168.10.7/ });
    must(/^https:\/\/192\.168\.10\.7(:\d+)?\/confirm-network#TRIALID$/.test((await link.getAttribute('href')) ?? ''), 'the link is wrong');
    const sent = mock.network.settings;
    must(sent.length === 2 && sent[0]?.routes[0]?.via === '192.168.10.1' && sent[1]?.vlan === 30 && sent[1].limit === 20_000, JSON.stringify(sent));
    await w.settle();
    await w.shot('flow-network-tried');
    await w.check();
    await w.goto('/confirm-network#TRIALID');
    await page.getByRole('button', { name: 'Keep the change' }).click();
    await page.getByText('The change is kept').waitFor();
    must(mock.network.pending === undefined && mock.oldPath < 0, 'it was not confirmed by a second connection');
    await w.settle();
    await w.shot('flow-network-kept');
  });

  await flow(browser, 'a public address is set; what cannot be used is told at its field', async (w, { mock }) => {
    const { page } = w;
    w.expected.push(/422/);
    await w.goto('/addresses');
    await page.getByText('No public address is set').waitFor();
    await page.getByRole('textbox', { name: 'Public address', exact: true }).fill('pbx.example');
    await page.getByRole('button', { name: 'Add address' }).click();
    must((await page.getByLabel('Own address').inputValue()) === '192.168.10.2', 'the detected address is not filled in');
    const inside = page.getByRole('textbox', { name: 'Inside networks' });
    await inside.fill(`${await inside.inputValue()}\n198.51.100.0/24`);
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Must be an IP address such as 203.0.113.7').waitFor();
    await page.getByRole('textbox', { name: 'Public address', exact: true }).fill('203.0.113.7');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Must be an IP address such as 203.0.113.7').waitFor();
    await w.settle();
    await w.shot('flow-addresses-refused');
    await page.getByLabel('Public address of it').fill('203.0.113.8');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Calls and messages use it from now on').waitFor();
    must(mock.addresses.inside_networks.includes('198.51.100.0/24') && mock.addresses.public_addresses[0]?.public === '203.0.113.8', JSON.stringify(mock.addresses));
    must((await page.getByText('No public address is set').count()) === 0, 'the hint stays');
    await w.settle();
    await w.shot('flow-addresses');
    await w.check();
  });

  await flow(browser, 'phones show certificates, and a transport has its own digest', async (w, { mock }) => {
    const { page } = w;
    w.expected.push(/422/);
    await w.goto('/transports');
    await page.getByRole('radio', { name: 'Yes, and phones without one are refused' }).check();
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Are needed to verify client certificates').waitFor();
    await page.getByLabel('Authorities').fill('-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('CN=Phones of Acme,O=Acme').waitFor();
    await w.settle();
    await w.shot('flow-certificates');
    await page.locator('[data-row=sip-udp]').getByRole('button', { name: 'Digest' }).click();
    await page.getByRole('combobox', { name: 'Digest' }).click();
    await page.getByRole('option', { name: 'SHA-256, then MD5' }).click();
    await w.settle();
    await w.shot('flow-transport-digest');
    await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
    await page.getByText('offers the new algorithms').waitFor();
    must(mock.transports[0]?.digest === 'both', 'it was not saved');
  });

  await flow(browser, 'a certificate is uploaded, put in force and deleted', async (w) => {
    const { page } = w;
    w.expected.push(/422|409/);
    await w.goto('/certificates');
    await page.getByText('9 days left').waitFor();
    await page.getByText('No certificate is for sip.engines.example').waitFor();
    await page.getByRole('button', { name: 'Upload', exact: true }).click();
    let dialog = page.getByRole('dialog');
    await dialog.getByRole('textbox', { name: 'Certificate with its chain' }).fill('-----BEGIN CERTIFICATE-----');
    await dialog.getByRole('button', { name: 'Upload certificate' }).click();
    await dialog.getByText(/Is missing: a text that begins/).waitFor();
    must((await dialog.getByRole('textbox', { name: 'Private key' }).getAttribute('aria-invalid')) === 'true', 'the reason is not at the key');
    await w.shot('flow-certificate-refused');
    await w.check();
    const chosen = page.waitForEvent('filechooser');
    await dialog.getByRole('button', { name: 'Open file: Private key' }).click();
    await (await chosen).setFiles({ name: 'key.pem', mimeType: 'text/plain', buffer: Buffer.from('-----BEGIN PRIVATE KEY-----\n') });
    await page.waitForFunction(() => [...document.querySelectorAll('textarea')].some((t) => t.value.includes('PRIVATE KEY')));
    await dialog.getByRole('button', { name: 'Upload certificate' }).click();
    await dialog.getByText(/The chain lacks|the chain lacks/).waitFor();
    await w.settle();
    await w.shot('flow-certificate-uploaded');
    await w.check();
    await dialog.getByRole('button', { name: 'Close' }).last().click();

    await page.getByRole('button', { name: 'sip.engines.example', exact: true }).click();
    dialog = page.getByRole('dialog').first();
    await dialog.getByText('4F8A 2C01').waitFor();
    await w.settle();
    await w.shot('flow-certificate-details');
    await w.check();
    await dialog.getByRole('button', { name: 'Delete' }).click();
    await page.getByText('The certificate and its key are gone').waitFor();
    await page.getByRole('dialog').last().getByRole('button', { name: 'Cancel' }).click();
    await dialog.getByRole('button', { name: 'Put in force' }).click();
    await page.getByTestId('deed').filter({ hasText: 'Put in force' }).click();
    await page.getByText('sip.engines.example is in force').waitFor();
    await dialog.getByRole('button', { name: 'Delete' }).click();
    await page.getByTestId('deed').filter({ hasText: 'Delete certificate' }).click();
    await page.getByText('It is in force; choose another one first', { exact: false }).waitFor();
    await page.getByRole('dialog').last().getByRole('button', { name: 'Cancel' }).click();
    await dialog.getByRole('button', { name: 'Close' }).click();
    await page.getByRole('button', { name: 'pbx.engines.example', exact: true }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.getByTestId('deed').filter({ hasText: 'Delete certificate' }).click();
    await page.getByText('pbx.engines.example deleted').waitFor();
    await page.getByRole('button', { name: 'pbx.engines.example', exact: true }).waitFor({ state: 'detached' });
    await w.settle();
  });

  await flow(browser, 'an authority is asked for a certificate once the names lead here', async (w) => {
    const { page } = w;
    w.expected.push(/422/);
    await w.goto('/certificates');
    must(await page.getByRole('button', { name: 'Ask now' }).isDisabled(), 'an authority can be asked while that is off');
    const names = page.getByRole('combobox', { name: 'Names' });
    await names.fill('old.engines.example');
    await names.press('Enter');
    await names.fill('pbx.engines.example');
    await names.press('Enter');
    await page.getByRole('button', { name: 'Check the names first' }).click();
    await page.locator('[data-report="old.engines.example"]').getByText('Does not lead here').waitFor();
    await page.locator('[data-report="pbx.engines.example"]').getByText('Leads here').waitFor();
    await page.getByText('What the authority will find').scrollIntoViewIfNeeded();
    await w.settle();
    await w.shot('flow-acme-names');
    await w.check();
    await page.getByLabel('Ask for certificates and renew them').check();
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('The authority wants them agreed to').waitFor();
    await page.getByLabel('I agree to the terms of service of the authority').check();
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Saved', { exact: true }).waitFor();

    await page.getByRole('button', { name: 'Ask now' }).click();
    await page.getByText('Names are looked up, port 80 opens').waitFor();
    await w.settle();
    await w.shot('flow-acme-asking');
    await w.check();
    await page.getByText(/Old.engines.example: leads to 203.0.113.9/).waitFor();
    await w.shot('flow-acme-failed');

    await names.press('Backspace');
    await names.fill('');
    for (let i = 0; i < 2; i++) await names.press('Backspace');
    await names.fill('sip.engines.example');
    await names.press('Enter');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('button', { name: 'Ask now', disabled: false }).click();
    await page.getByText('The certificate is here').waitFor();
    await page.locator('[data-row="acme"]').getByText('89 days left').waitFor();
    await w.shot('flow-acme-got');
  });

  await flow(browser, 'the open ports as rules of a cloud', async (w) => {
    const { page } = w;
    w.expected.push(/422/);
    await w.goto('/ports');
    await page.getByRole('combobox', { name: 'For' }).click();
    await page.getByRole('option', { name: 'Google Cloud firewall, command line' }).click();
    await page.getByLabel('Networks of administrators').fill('office');
    await page.getByRole('button', { name: 'Show rules' }).click();
    await page.getByText('neither a network like').waitFor();
    await page.getByLabel('Networks of administrators').fill('203.0.113.7');
    await page.getByRole('button', { name: 'Show rules' }).click();
    await page.getByRole('textbox', { name: 'Rules for a cloud' }).waitFor();
    const text = await page.getByRole('textbox', { name: 'Rules for a cloud' }).inputValue();
    must(text.includes('google-cli') && text.includes('203.0.113.7'), `it shows ${text}`);
    await page.getByRole('button', { name: /Copy/ }).scrollIntoViewIfNeeded();
    await w.settle();
    await w.shot('flow-port-rules');
    await w.check();
  });

  await flow(browser, 'a call that begins and ends shows without a reload', async (w, { mock }) => {
    const { page } = w;
    await page.locator('[data-live=live]').waitFor();
    await page.locator('[data-list=live-calls] [data-row=c-2]').waitFor();
    mock.calls = mock.calls.filter((c) => c.id !== 'c-2');
    mock.send('call', {});
    await page.locator('[data-row=c-2]').waitFor({ state: 'detached', timeout: 3000 });
  });

  await flow(browser, 'durations tick', async (w) => {
    const cell = w.page.locator('[data-list=live-calls] [data-row=c-2] td[data-end]');
    const before = await cell.innerText();
    await w.page.waitForTimeout(2100);
    must(before !== (await cell.innerText()), `still ${before}`);
  });

  await flow(browser, 'without the event stream the lists are asked for', async (w, { mock }) => {
    const { page } = w;
    w.expected.push(/429|ERR_INCOMPLETE|events/);
    await page.locator('[data-live=live]').waitFor();
    mock.eventsRefused = true;
    mock.endStreams();
    await page.locator('[data-live=polling]').waitFor();
    mock.calls = mock.calls.filter((c) => c.id !== 'c-2');
    await page.locator('[data-row=c-2]').waitFor({ state: 'detached', timeout: 8000 });
    mock.eventsRefused = false;
    await page.locator('[data-live=live]').waitFor({ timeout: 20_000 });
  });

  await flow(browser, 'a call is ended after its effect was stated', async (w) => {
    const { page } = w;
    await w.goto('/calls');
    await page.locator('[data-row=c-1]').getByRole('button', { name: 'Hang up' }).click();
    await page.getByText(/ends at once for both/).waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Hang up' }).click();
    await page.locator('[data-row=c-1]').waitFor({ state: 'detached' });
  });

  await flow(browser, 'the table searches, sorts, hides columns', async (w) => {
    const { page } = w;
    await w.goto('/extensions');
    await page.getByLabel('Search: extensions').fill('lamarr');
    await page.getByText('1 of 12 extensions').waitFor();
    await page.getByLabel('Search: extensions').fill('nobody');
    await page.getByText('Nothing matches “nobody”').waitFor();
    await w.check();
    await page.getByRole('button', { name: 'Clear' }).last().click();
    await page.getByRole('button', { name: 'Name' }).click();
    must((await page.locator('tbody tr').first().getAttribute('data-row')) === '101', 'not sorted by name');
    await page.getByRole('button', { name: 'Columns' }).click();
    await page.getByRole('menuitemcheckbox', { name: 'Rings for' }).click();
    await page.keyboard.press('Escape');
    must((await page.getByRole('columnheader', { name: 'Rings for' }).count()) === 0, 'the column is still there');
  });

  await flow(browser, 'call records page on and filter', async (w) => {
    const { page } = w;
    await w.goto('/cdrs');
    await page.getByText('200 records').waitFor();
    await page.getByRole('button', { name: 'Show older entries' }).click();
    await page.getByText('340 records').waitFor();
    await page.locator('[data-row]').first().click();
    await page.getByRole('dialog').waitFor();
    await w.settle();
    await w.shot('flow-record');
    await w.check();
    await page.keyboard.press('Escape');
    await w.goto('/cdrs?extension=106');
    must((await page.locator('tbody tr').count()) > 0, 'no rows of 106');
    await page.getByLabel('Number contains').fill('10 6');
    await page.getByText('Not answered').click();
    await page.getByLabel('From this day').fill('2999-01-01');
    await page.getByText('No such calls').waitFor();
    await w.settle();
    await w.shot('flow-records-none');
    await page.getByLabel('From this day').fill('2020-01-01');
    await page.locator('[data-row]').first().waitFor();
    const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export' }).click()]);
    must(file.suggestedFilename() === 'calls.csv', file.suggestedFilename());
    await page.getByLabel('Days').fill('90');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Saved').waitFor();
    await w.settle();
    await w.shot('flow-records-found');
    await w.check();
  });

  await flow(browser, 'Ctrl-K jumps to an extension', async (w) => {
    const { page } = w;
    await page.keyboard.press('Control+k');
    await page.getByPlaceholder('Pages, extensions, actions').fill('hopper');
    await w.settle();
    await w.shot('flow-palette');
    await w.check();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: /103 Grace Hopper/ }).waitFor();
  });

  await flow(browser, 'an ended session leads to the log-in and back', async (w, { mock }) => {
    const { page } = w;
    w.expected.push(/401|ERR_INCOMPLETE/);
    await w.goto('/ports');
    mock.sessions.clear();
    await page.getByText('You were signed out').waitFor({ timeout: 20_000 });
    await page.getByLabel('User name').fill(admin.name);
    await page.getByLabel('Password', { exact: true }).fill('Wrong-Harbour7');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('Name or password is wrong').waitFor();
    await w.settle();
    await w.shot('flow-login-wrong');
    await page.getByLabel('Password', { exact: true }).fill(admin.password);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { level: 1, name: 'Ports' }).waitFor();
  });

  await flow(browser, 'a password set by somebody else must be changed first', async (w, { mock }) => {
    const { page } = w;
    w.expected.push(/403/);
    mock.mustChange = true;
    await w.goto('/calls');
    await page.getByText('Choose a password of your own').waitFor();
    await w.shot('flow-must-change');
    await page.getByLabel('Current password').fill('Wrong-Harbour7');
    await page.getByLabel('New password', { exact: true }).fill('Tr8!kpwz-new');
    await page.getByLabel('New password again').fill('Tr8!kpwz-new');
    await page.getByRole('button', { name: 'Change password' }).click();
    await page.getByText('The current password is wrong').waitFor();
    await page.getByLabel('Current password').fill(admin.password);
    await page.getByRole('button', { name: 'Change password' }).click();
    await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
  });

  await flow(browser, 'a server that fails says so, and what to do', async (w, { mock }) => {
    w.expected.push(/500|ERR_INCOMPLETE|Problem: The server failed/);
    mock.failWith = 500;
    await w.page.goto('/');
    await w.page.getByText('The server failed').first().waitFor({ timeout: 20_000 });
    await w.shot('flow-failed');
    mock.failWith = 0;
    await w.page.getByRole('button', { name: 'Try again' }).click();
    await w.page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
  });

  await flow(browser, 'a user is made, and people come from a list', async (w, { mock }) => {
    await w.goto('/users');
    await w.page.getByRole('button', { name: 'New user' }).click();
    const form = w.page.getByRole('dialog');
    await form.getByLabel('User name').fill('hedy');
    await form.getByLabel('Extension', { exact: true }).fill('150');
    await form.getByLabel('Make this extension now, with a SIP password of its own').check();
    await w.shot('flow-user-new');
    await form.getByRole('button', { name: 'Create user' }).click();
    await w.page.getByText('The passwords are shown only now').waitFor();
    await w.shot('flow-user-made');
    must(mock.users.some((u) => u.name === 'hedy' && u.extension === '150'), 'the user was not made');
    await form.getByRole('button', { name: 'Close' }).last().click();
    await w.page.getByRole('button', { name: 'Import from CSV' }).click();
    await w.page.getByLabel('List').fill('number,user\n160,kim\n101,lee');
    await w.page.getByRole('button', { name: 'Check' }).click();
    await w.page.getByText('1 row is wrong').waitFor();
    await w.shot('flow-import-wrong');
    await w.page.getByLabel('List').fill('number,user\n160,kim');
    await w.page.getByRole('button', { name: 'Check' }).click();
    await w.page.getByRole('button', { name: 'Add 1 extensions and 1 users' }).click();
    await w.page.getByRole('button', { name: 'Download passwords' }).waitFor();
  });

  await flow(browser, 'an administrator of the box works in another organisation', async (w, { mock }) => {
    await w.goto('/tenants');
    await w.page.getByRole('button', { name: 'Difference & Sons' }).click();
    await w.shot('flow-tenant');
    await w.page.getByRole('button', { name: 'Work here' }).click();
    await w.page.getByText('You work in Difference & Sons now').waitFor();
    must(mock.workedIn === '2', `requests name organisation ${mock.workedIn}`);
    await w.page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
    await w.page.getByLabel('Organisation').first().waitFor();
    await w.shot('flow-tenant-switched');
  });

  await flow(browser, 'a role is made', async (w, { mock }) => {
    await w.goto('/roles');
    await w.page.getByRole('button', { name: 'New role' }).click();
    await w.page.getByLabel('Name').fill('desk');
    await w.page.getByLabel('Local numbers').check();
    await w.page.getByLabel('See and end calls of everybody').check();
    await w.shot('flow-role');
    await w.page.getByRole('button', { name: 'Create role' }).click();
    await w.page.getByText('It holds from the next request').waitFor();
    must(mock.roles.items.some((r) => r.name === 'desk' && r.classes.includes('local') && r.permissions.includes('calls.manage')), 'the role was not made as chosen');
  });

  await flow(browser, 'hostile names stay text', async (w, { mock }) => {
    const hostile = '<img src=x onerror=alert(1)><script>alert(2)</script>';
    mock.extensions[0] = { number: '101', display_name: hostile, no_answer_seconds: 30, registrations: 1, media_security: 'offer', dtmf: 'auto', call_handling: noHandling(), role: 'standard', effective_role: 'standard', groups: [], emergency_location: '', emergency_callback: '' };
    mock.registrations.forEach((r) => Object.assign(r, { user_agent: hostile, contact: `sip:101@x;${hostile}` }));
    mock.calls.forEach((c) => Object.assign(c.caller, { name: hostile }));
    mock.records.forEach((r) => Object.assign(r.callee, { name: hostile }));
    w.page.on('dialog', () => w.faults.push('a dialog opened'));
    for (const path of ['/', '/extensions?number=101', '/registrations', '/calls', '/cdrs']) {
      await w.goto(path);
      await w.check();
    }
    await w.goto('/registrations');
    await w.page.getByText(hostile).first().waitFor();
  });

  await flow(browser, 'markup through innerHTML is refused by Trusted Types', async (w) => {
    w.expected.push(/CSP violation: require-trusted-types-for|TrustedHTML|Trusted Type/);
    const refused = await w.page.evaluate(() => {
      try {
        document.createElement('div').innerHTML = '<b>x</b>';
        return false;
      } catch {
        return true;
      }
    });
    must(refused, 'innerHTML took markup');
  });

  await flow(browser, 'ten thousand extensions scroll', async (w, { mock }) => {
    mock.extensions = Array.from({ length: 10_000 }, (_, i) => ({ number: String(10_000 + i), display_name: `Person ${i}`, no_answer_seconds: 30, registrations: i % 2, media_security: 'offer', dtmf: 'auto', call_handling: noHandling(), role: 'standard', effective_role: 'standard', groups: [], emergency_location: '', emergency_callback: '' }));
    await w.goto('/extensions');
    await w.page.getByText('10,000 extensions').waitFor();
    const rows = await w.page.locator('tbody tr[data-row]').count();
    must(rows < 80, `${rows} rows are in the page`);
    await w.page.getByLabel('Search: extensions').fill('Person 9999');
    await w.page.locator('[data-row="19999"]').waitFor();
  });

  await flow(browser, 'the colour scheme is chosen and kept', async (w) => {
    const { page } = w;
    await page.getByRole('button', { name: /Ada Lovelace/ }).click();
    await w.settle();
    await w.shot('flow-user-menu');
    await w.check();
    await page.getByRole('menuitemradio', { name: 'Dark' }).click();
    await page.waitForFunction(() => document.documentElement.dataset.mantineColorScheme === 'dark');
    await page.reload();
    await w.settle();
    must((await page.evaluate(() => document.documentElement.dataset.mantineColorScheme)) === 'dark', 'the choice was forgotten');
  });
}

/**
 * The life of an extension on any server; it leaves nothing behind but records.
 * @param {Browser} browser @param {import('./pages.mjs').Server} server @param {string} tag
 */
export async function lifeOfAnExtension(browser, server, tag) {
  await test(`${tag} an extension is created, changed and deleted`, async () => {
    const w = await Watched.open(browser, { url: server.url });
    const { page } = w;
    await signIn(w, server);
    await w.goto('/extensions?create=true');
    const made = page.getByRole('dialog');
    const number = await made.getByLabel('Number').inputValue();
    must(/^[0-9]{2,9}$/.test(number), `suggested number ${number}`);
    await made.getByLabel('Name').fill('Night porter');
    await made.getByRole('button', { name: 'Create extension' }).click();
    await made.getByText('The password is shown only now').waitFor();
    const qr = made.getByRole('img', { name: /QR code/ });
    await qr.waitFor();
    must((await qr.evaluate((i) => /** @type {HTMLImageElement} */ (i).naturalWidth)) > 20, 'the QR code is no picture');
    await w.check();
    await made.getByRole('button', { name: 'Close' }).last().click();

    await page.getByRole('button', { name: number, exact: true }).click();
    const drawer = page.getByRole('dialog').first();
    await drawer.getByRole('textbox', { name: 'Name' }).fill('Day porter');
    await drawer.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Saved').waitFor();
    await drawer.getByRole('button', { name: 'New SIP password' }).click();
    await page.getByTestId('deed').filter({ hasText: 'New SIP password' }).click();
    await drawer.getByText('The password is shown only now').waitFor();
    await page.getByText(/cut off when/).waitFor({ state: 'detached' });
    const before = await drawer.getByText('/provision/').innerText();
    await drawer.getByRole('button', { name: 'New address' }).click();
    await page.getByTestId('deed').filter({ hasText: 'New address' }).click();
    await drawer.getByText(before).waitFor({ state: 'detached' });
    await drawer.getByRole('button', { name: 'Delete extension' }).click();
    await page.getByTestId('deed').filter({ hasText: 'Delete extension' }).click();
    await page.getByText(`Extension ${number} was deleted`).waitFor();
    await w.check();
    await page.getByRole('button', { name: number, exact: true }).waitFor({ state: 'detached' });
    await w.close();
  });
}

/**
 * Somebody without administration sees their own calls and account, nothing else.
 * @param {Browser} browser @param {import('./pages.mjs').Server} user
 */
export async function plainUser(browser, user) {
  await test('real a user without administration sees their own calls only', async () => {
    const w = await Watched.open(browser, { url: user.url });
    await signIn(w, user, 'Call records');
    must((await w.page.getByRole('link', { name: 'Extensions' }).count()) === 0, 'the navigation offers extensions');
    for (const path of ['/', '/extensions', '/ports', '/audit', '/calls']) {
      await w.goto(path);
      must(new URL(w.page.url()).pathname === '/cdrs', `${path} leads to ${w.page.url()}`);
      await w.check();
    }
    await w.goto('/account');
    await w.check();
    await w.close();
  });
}
