// The dashboard as a person uses it, in the system's Chromium, against a running broker:
//
//   npm ci && node dashboard.mjs http://127.0.0.1:7411 [--idle] [--wait SECONDS] [--shots DIRECTORY]
//
// With a token in FLUIDCLOUD_TOKEN; without one the broker must let everybody in.
// What is expected is taken from the broker's own answers. A relocation that copies must be there, or begin within the
// time to wait; `--idle` does without. States that a broker cannot be brought into at will (stuck, awaiting cutover, empty,
// away, hostile names) are made of its answers on their way to the page. Nothing is asked of the broker but to be looked
// at: no action is ever sent to it. Fails when axe finds something, when a page logs an error, when a number is missing.

import assert from 'node:assert/strict';
import {
  NARROW,
  SHOWN_WITHIN_MS,
  WIDE,
  accessible,
  base,
  close,
  copying,
  expectText,
  fits,
  focused,
  get,
  settled,
  shoot,
  tabTo,
  until,
  token,
  visit,
} from './person.mjs';
import { awaiting, empty, hostile, stuck } from './states.mjs';

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
];

const failures = [];

await story('it is served with the policy that it is written for', served);
await story('who is not known sees a login and nothing else', loggedIn);
await story('a running relocation is shown, and moves', running);
await story('every page is clean for axe and fits, in both themes, wide and narrow', everyState);
await story('it is used by keyboard alone', byKeyboard);
await story('a refused action says why and what to do', refused);
await story('names of strangers are text', strangers);
await story('what is not connected is told as such, and comes back', away);

await close();
if (failures.length) {
  console.error(`\n${failures.length} failed`);
  process.exit(1);
}

async function story(name, tell) {
  const began = Date.now();
  try {
    await tell();
    console.log(`ok    ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failures.push(name);
    console.error(`FAILED ${name}\n${error.stack}`);
  }
}

// --- stories ---

async function served() {
  const answer = await fetch(`${base}/`);
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get('content-type'), /^text\/html/);
  const policy = answer.headers.get('content-security-policy') ?? '';
  for (const rule of POLICY) assert.ok(policy.includes(rule), `the policy lacks ${rule}: ${policy}`);
  const html = await answer.text();
  assert.doesNotMatch(html, /<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=/i, 'something is inline');
}

async function loggedIn() {
  if (!token) return console.log('  the broker lets everybody in: skipped');
  await visit(
    { stranger: true },
    async (page) => {
      const field = page.getByLabel('Token');
      await field.waitFor();
      const { relocations, providers } = await get('/v1/status');
      const text = await page.locator('body').innerText();
      for (const { id } of [...relocations, ...providers]) assert.ok(!text.includes(id), `${id} is shown to a stranger`);
      for (const viewport of [WIDE, NARROW]) {
        await page.setViewportSize(viewport);
        await accessible(page, 'login');
        await fits(page, 'login');
        await shoot(page, `login-${viewport.width}`);
      }
      await field.fill('fct_wrong');
      // The page draws itself anew meanwhile, and must leave who types alone.
      await page.waitForTimeout(3_000);
      assert.equal(await field.inputValue(), 'fct_wrong');
      assert.equal(await page.evaluate(() => document.activeElement.id), 'token');
      await page.keyboard.press('Enter');
      await expectText(page.getByRole('alert'), [/not known/, /fluidcloud token create/]);
      await accessible(page, 'a refused login');
      await field.fill(token);
      await page.keyboard.press('Enter');
      await settled(page);
      await expectText(page.locator('#who'), [/\(admin\)|\(operator\)|\(viewer\)/]);
      assert.ok(!(await page.evaluate(() => document.cookie)).includes('session'), 'a script can read the session');
      await page.reload();
      await settled(page);
      await page.getByRole('button', { name: 'Log out' }).click();
      await page.getByLabel('Token').waitFor();
      await page.reload();
      await page.getByLabel('Token').waitFor();
    },
    { allow: /status of 401/ },
  );
}

async function running() {
  const status = await copying();
  if (!status) return console.log('  no relocation is copying: skipped, as --idle says');
  await visit({}, async (page) => {
    const card = page.locator('.card', { has: page.locator(`a[href="#/relocations/${status.id}"]`) });
    await card.waitFor({ timeout: SHOWN_WITHIN_MS });
    await expectText(card, [status.service, status.source, status.target, / %/, /ETA/, /Rate/, /of \d+ done/]);
    const before = await card.innerText();
    await until(async () => (await card.innerText()) !== before, 'its card does not move');

    await page.goto(`${base}/#/relocations/${status.id}`);
    await page.getByRole('heading', { level: 1, name: status.service }).waitFor();
    const now = await get(`/v1/relocations/${status.id}`);
    assert.equal(await page.locator('section.steps tbody tr').count(), now.steps.length, 'not every step is a row');
    for (const { disk } of now.transfers) {
      const viaduct = page.getByRole('article', { name: `Viaduct of ${disk.component}/${disk.disk}` });
      await expectText(viaduct, [/read/, /dropped/, /reused/, /on the wire/, / %/]);
    }
    const chart = page.getByRole('img', { name: /^Throughput of/ }).first();
    await chart.waitFor({ timeout: 20_000 });
    for (const component of new Set(now.transfers.map(({ disk }) => disk.component))) {
      await page.getByRole('listitem', { name: `Component ${component}` }).waitFor();
    }
    assert.ok(await page.getByRole('link', { name: 'Raw JSON' }).getAttribute('href'));
    await accessible(page, 'running');
    await shoot(page, 'running');
  });
}

async function everyState() {
  const document = await get('/v1/status');
  const states = { real: null, empty: empty(document), stuck: stuck(document), awaiting: awaiting(document) };
  for (const [name, state] of Object.entries(states)) {
    const shown = state ?? document;
    const routes = ['', ...shown.relocations.slice(0, 3).map((one) => `relocations/${one.id}`)];
    for (const colorScheme of ['light', 'dark']) {
      for (const viewport of [WIDE, NARROW]) {
        await visit({ colorScheme, viewport, state }, async (page) => {
          for (const route of routes) {
            await page.goto(`${base}/#/${route}`);
            await settled(page);
            const where = `${name} ${route || 'overview'} ${colorScheme} ${viewport.width}`;
            await accessible(page, where);
            await fits(page, where);
            await shoot(page, where.replaceAll(/[ /]/g, '-'));
          }
        });
      }
    }
  }
}

async function byKeyboard() {
  const document = awaiting(await get('/v1/status'));
  await visit({ state: document }, async (page) => {
    await page.keyboard.press('Tab');
    assert.equal(await focused(page), 'Skip to content');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
    await tabTo(page, /^Approve cutover/);
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog');
    await dialog.waitFor();
    await expectText(dialog, [/Downtime begins at once/, document.relocations[0].target]);
    await accessible(page, 'the dialog');
    assert.equal(await focused(page), 'Not yet', 'Enter alone would do harm');
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
    assert.match(await focused(page), /^Approve cutover/, 'the focus did not come back');
    await page.keyboard.press('Shift+Tab');
    await tabTo(page, new RegExp(`^${document.relocations[0].service}`), 'Shift+Tab');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: document.relocations[0].service }).waitFor();
    await until(
      async () => (await page.evaluate(() => document.activeElement.id)) === 'title',
      'the heading has no focus',
    );
  });
}

async function refused() {
  const problem = {
    type: 'about:blank',
    title: 'Conflict',
    status: 409,
    code: 'invalid_request',
    detail: 'it is not stuck any more',
    remedy: 'look at it again',
  };
  const asked = [];
  await visit(
    { state: stuck(await get('/v1/status')), answer: { problem, asked } },
    async (page) => {
      await page
        .getByRole('button', { name: /^Retry/ })
        .first()
        .click();
      const dialog = page.getByRole('dialog');
      assert.equal(asked.length, 0, 'something was sent without a yes');
      await dialog.getByRole('button', { name: /retry$/ }).click();
      await expectText(dialog.getByRole('alert'), [/It is not stuck any more/, /Look at it again/, /invalid_request/]);
      assert.equal(asked.length, 1);
      await accessible(page, 'a refused action');
      await shoot(page, 'refused');
    },
    { allow: /status of 409/ },
  );
}

async function strangers() {
  const document = hostile(await get('/v1/status'));
  await visit({ state: document }, async (page) => {
    for (const route of ['', `relocations/${document.relocations[0].id}`]) {
      await page.goto(`${base}/#/${route}`);
      await settled(page);
      assert.equal(await page.locator('main img, main script, main b').count(), 0, 'a name became an element');
      assert.ok((await page.locator('main').innerText()).includes('<img src=x'), 'the name is not shown as it is');
      await fits(page, `hostile ${route}`);
    }
  });
}

async function away() {
  await visit(
    {},
    async (page) => {
      await settled(page);
      await page.context().setOffline(true);
      await page.getByText(/^Not connected, showing what was known at \d\d:\d\d:\d\d/).waitFor({ timeout: 25_000 });
      await accessible(page, 'away');
      await shoot(page, 'away');
      await page.context().setOffline(false);
      await page.locator('#live').getByText('live', { exact: true }).waitFor({ timeout: 25_000 });
      assert.equal((await page.locator('#connection').innerText()).trim(), '');
    },
    { allow: /ERR_INTERNET_DISCONNECTED|Failed to load resource/ },
  );
}
