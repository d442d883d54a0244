// Who uses the dashboard: the system's Chromium with a pair of eyes (axe), fingers (the keyboard) and patience. Reads the
// command line; refuses to let anything be asked of a real relocation.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { chromium } from 'playwright-core';

export const WIDE = { width: 1440, height: 900 };
export const NARROW = { width: 360, height: 740 };
export const SHOWN_WITHIN_MS = 10_000;
/** Of the places where a rule of axe is broken, so many are told. */
const NODES_TOLD = 4;

const options = parse(process.argv.slice(2));
const { idle, waitSeconds, shots } = options;
export const { base } = options;
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
// As root, as in a container of CI, Chromium has no sandbox.
const browser = await chromium.launch({ executablePath: systemChromium(), args: ['--no-sandbox'] });

export function close() {
  return browser.close();
}

/** A page, with the broker's answers replaced by `state` if given; any error that it logs fails the story. */
export async function visit(
  { viewport = WIDE, colorScheme = 'light', state = null, answer = null },
  tell,
  { allow = null } = {},
) {
  const context = await browser.newContext({ viewport, colorScheme, reducedMotion: 'reduce' });
  const errors = [];
  try {
    const page = await context.newPage();
    page.on('pageerror', (error) => errors.push(error.stack));
    page.on('console', (line) => line.type() === 'error' && !allow?.test(line.text()) && errors.push(line.text()));
    // Whatever goes wrong here, nothing is ever asked of a real relocation.
    await page.route('**/v1/relocations/*/*', (route) => {
      answer?.asked.push(route.request().url());
      return route.fulfill({
        status: 409,
        contentType: 'application/problem+json',
        body: JSON.stringify(answer?.problem ?? {}),
      });
    });
    if (state) {
      await page.route('**/v1/status', (route) => route.fulfill({ json: state }));
      await page.route('**/v1/events**', (route) =>
        route.request().url().includes('recent')
          ? route.fulfill({ contentType: 'application/x-ndjson', body: '' })
          : route.fulfill({ contentType: 'text/event-stream', body: 'retry: 60000\n\n' }),
      );
    }
    await page.goto(`${base}/`);
    await settled(page);
    await tell(page);
    assert.deepEqual(errors, [], 'the page logged errors');
  } finally {
    await context.close();
  }
}

export async function settled(page) {
  await page.locator('#version').getByText('version').waitFor({ state: 'attached', timeout: SHOWN_WITHIN_MS });
  await page.waitForFunction(
    () => document.querySelector('main h1') && !document.querySelector('main').innerText.includes('Asking the broker'),
  );
}

export async function accessible(page, where) {
  // Not by a script element: the policy of the page forbids what is inline.
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  const told = violations.map(
    (one) =>
      `${one.id}: ${one.help}\n    ${one.nodes
        .slice(0, NODES_TOLD)
        .map((node) => `${node.html}\n      ${node.failureSummary}`)
        .join('\n    ')}`,
  );
  assert.equal(told.length, 0, `axe at ${where}:\n  ${told.join('\n  ')}`);
}

export async function fits(page, where) {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(over <= 0, `${where} is ${over} pixels too wide`);
}

export async function expectText(locator, wanted) {
  await locator.waitFor();
  for (const what of wanted.filter(Boolean)) {
    const shown = async () => {
      const text = await locator.innerText();
      return typeof what === 'string' ? text.includes(what) : what.test(text);
    };
    await until(shown, `${what} is not shown`);
  }
}

export async function until(holds, otherwise) {
  const end = Date.now() + SHOWN_WITHIN_MS;
  while (!(await holds())) {
    if (Date.now() > end) assert.fail(otherwise);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

export function focused(page) {
  return page.evaluate(() => document.activeElement.textContent.trim());
}

export async function tabTo(page, wanted, key = 'Tab') {
  for (let pressed = 0; pressed < 60; pressed += 1) {
    if (wanted.test(await focused(page))) return;
    await page.keyboard.press(key);
  }
  assert.fail(`${key} does not lead to ${wanted}`);
}

/** A relocation whose bytes move at this moment. */
export async function copying() {
  const end = Date.now() + waitSeconds * 1000;
  for (;;) {
    const { relocations } = await get('/v1/status');
    const found = relocations.find((one) =>
      one.transfers.some(({ state, progress }) => state === 'running' && progress.rate_bytes_per_sec > 0),
    );
    if (found || idle) return found;
    assert.ok(Date.now() < end, `no relocation copied within ${waitSeconds} s: start one, or say --idle`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

export async function get(where) {
  const answer = await fetch(`${base}${where}`);
  assert.equal(answer.status, 200, where);
  return answer.json();
}

export async function shoot(page, name) {
  if (!shots) return;
  await mkdir(shots, { recursive: true });
  await page.screenshot({ path: path.join(shots, `${name}.png`), fullPage: true });
}

function systemChromium() {
  const known = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
  const found = known.find((one) => one && existsSync(one));
  if (!found) {
    console.error('no Chromium here: apt-get install --no-install-recommends chromium, or name it in CHROMIUM');
    process.exit(2);
  }
  return found;
}

function parse(given) {
  const options = { base: null, idle: false, waitSeconds: 120, shots: null };
  for (let at = 0; at < given.length; at += 1) {
    if (given[at] === '--idle') options.idle = true;
    else if (given[at] === '--wait') options.waitSeconds = Number(given[(at += 1)]);
    else if (given[at] === '--shots') options.shots = given[(at += 1)];
    else options.base = given[at].replace(/\/+$/, '');
  }
  if (!options.base || !Number.isFinite(options.waitSeconds)) {
    console.error('use: node dashboard.mjs URL [--idle] [--wait SECONDS] [--shots DIRECTORY]');
    process.exit(2);
  }
  return options;
}
