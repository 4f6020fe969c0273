// The browser, and what every page must keep: no policy violation, no error, no
// serious accessibility finding, no sideways scrolling.
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** Where screenshots go; without it none are taken, which is faster. */
const out = process.env.RINGFENCE_SHOTS;

export const desktop = { width: 1440, height: 900 };
export const phone = { width: 390, height: 844 };

/** @typedef {import('playwright-core').Page} Page */
/** @typedef {import('playwright-core').Browser} Browser */

export async function launch() {
  if (out) mkdirSync(out, { recursive: true });
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
    ],
  });
}

/** A page that keeps count of what must not happen. */
export class Watched {
  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    /** @type {string[]} */
    this.faults = [];
    /** Console errors that a test provokes, such as a refused log-in. @type {RegExp[]} */
    this.expected = [];
    page.on('pageerror', (e) => this.faults.push(`page error: ${e.message}`));
    page.on('console', (m) => {
      if (m.type() === 'error' && !this.expected.some((x) => x.test(m.text()))) this.faults.push(`console: ${m.text()}`);
    });
  }

  /**
   * @param {Browser} browser
   * @param {{ url: string, scheme?: 'light' | 'dark', size?: { width: number, height: number } }} o
   */
  static async open(browser, { url, scheme = 'light', size = desktop }) {
    const context = await browser.newContext({
      baseURL: url, ignoreHTTPSErrors: true, colorScheme: scheme, viewport: size, locale: 'en-GB', timezoneId: 'UTC', reducedMotion: 'reduce',
    });
    await context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (e) => console.error(`CSP violation: ${e.violatedDirective} ${e.blockedURI} ${e.sample}`));
    });
    const page = await context.newPage();
    // An emulated guest on a busy machine takes its time.
    page.setDefaultTimeout(Number(process.env.RINGFENCE_PAGE_TIMEOUT ?? 45_000));
    return new Watched(page);
  }

  /** @param {string} path */
  async goto(path) {
    await this.page.goto(path);
    await this.settle();
  }

  /** Waits until nothing loads and nothing moves. */
  async settle() {
    await this.page.waitForFunction(() => document.querySelector('h1, [role=dialog]') !== null && document.querySelector('.mantine-Loader-root, .mantine-Skeleton-root') === null);
    await this.page.evaluate(() => document.fonts.ready.then(() => undefined));
    await this.page.waitForTimeout(120);
  }

  /** @param {string} name */
  async shot(name) {
    if (out) await this.page.screenshot({ path: `${out}/${name}.png` });
  }

  /** Throws when the page as it stands breaks a rule. */
  async check() {
    const serious = await this.axe();
    const wide = await this.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    const faults = [...this.faults, ...serious];
    if (wide > 0) faults.push(`the page scrolls sideways by ${wide} px`);
    this.faults = [];
    if (faults.length > 0) throw new Error(faults.join('\n      '));
  }

  async axe() {
    await this.page.evaluate(axeSource);
    const found = await this.page.evaluate(async () => {
      // @ts-ignore axe was put into the page a line above
      const result = await window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] });
      return result.violations.map((/** @type {any} */ v) => ({ id: v.id, impact: v.impact, nodes: v.nodes.map((/** @type {any} */ n) => `${n.target} ${n.failureSummary}`) }));
    });
    return found
      .filter((/** @type {any} */ v) => v.impact === 'serious' || v.impact === 'critical' || process.env.AXE_ALL)
      .map((/** @type {any} */ v) => `axe ${v.impact} ${v.id}: ${v.nodes.slice(0, 3).join(' | ')}`.replaceAll('\n', ' '));
  }

  async close() {
    await this.page.context().close();
  }
}
