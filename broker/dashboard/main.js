// Owns: the page as a whole: which page is shown, when it is redrawn, what is said to screen readers, and whether what is
// shown is still true.

import { detail } from './detail.js';
import { redrawDialog } from './dialog.js';
import { draw, h } from './dom.js';
import { icon } from './icons.js';
import { Link } from './link.js';
import { login, who } from './login.js';
import { overview } from './overview.js';
import { drawNeeds } from './needs.js';
import { note } from './pieces.js';
import { Store } from './store.js';
import { clock, duration } from './units.js';
import * as words from './words.js';

/** At most four times a second when something changed, and once a second for times that pass. */
const REDRAW_EVERY_MS = 250;
const TICK_MS = 1_000;
/** Workers tell every five seconds that they are there. */
const WORKER_SILENT_MS = 20_000;
/** A copy that tells nothing for so long is told as such; it usually tells twice a second. */
const COPY_SILENT_SECONDS = 15;
/** What is said aloud is collected for so long, so that it does not chatter. */
const SAY_EVERY_MS = 4_000;

const store = new Store();
const link = new Link(store);
const main = document.getElementById('main');

const app = {
  store,
  link,
  filter: { text: '', group: '' },
  showAllEnded: false,
  asked: new Map(),
  now: () => (app.frozenAt() ?? Date.now()) + store.clockAhead,
  /** The moment at which the picture stopped being true, or null while it is. */
  frozenAt: () => (link.connected() || !store.receivedAt ? null : store.heardAt),
  knownAt: () => clock(store.heardAt),
  /** A number that moves, in the past tense when nobody knows whether it still holds. */
  was: (text) => (link.connected() ? text : `${text} at ${app.knownAt()}`),
  isSilent: (worker) => (app.frozenAt() ?? Date.now()) - worker.heardAt > WORKER_SILENT_MS,
  silence(status) {
    const copies = (status.transfers ?? []).some((transfer) => transfer.state === 'running');
    if (!copies || !words.moves(status) || !link.connected()) return null;
    const seconds = store.silentFor(status);
    if (seconds < COPY_SILENT_SECONDS) return null;
    return h(
      'div',
      { key: 'silence', class: 'silence' },
      note(
        'ask',
        'clock',
        h('p', {}, `Its numbers are ${duration(Math.floor(seconds))} old: no news of the copy since then.`),
      ),
    );
  },
  setFilter(change) {
    Object.assign(app.filter, change);
    remember();
    redraw();
  },
  showAll() {
    app.showAllEnded = true;
    redraw();
  },
  say,
  redraw: () => redraw(),
};

// --- which page ---

function route() {
  const [path, query] = location.hash.replace(/^#/, '').split('?');
  const found = /^\/relocations\/([^/]+)\/?$/.exec(path);
  if (found) return { id: decodeURIComponent(found[1]) };
  const wanted = new URLSearchParams(query ?? '');
  return { text: wanted.get('text') ?? '', group: wanted.get('phase') ?? '' };
}

/** The filter is in the address, so that it can be kept and passed on. */
function remember() {
  const kept = new URLSearchParams();
  if (app.filter.text) kept.set('text', app.filter.text);
  if (app.filter.group) kept.set('phase', app.filter.group);
  history.replaceState(null, '', `#/${kept.size ? `?${kept}` : ''}`);
}

function arrive(event) {
  const wanted = route();
  if (wanted.id === undefined) app.filter = { text: wanted.text, group: wanted.group };
  document.getElementById('dialog').close();
  shown.page = null;
  paint();
  if (!event) return;
  scrollTo(0, 0);
  document.getElementById('title')?.focus({ preventScroll: true });
}

// --- drawing ---

const shown = { page: null, at: 0, timer: null };

function redraw() {
  if (shown.timer) return;
  const wait = Math.max(0, shown.at + REDRAW_EVERY_MS - Date.now());
  shown.timer = setTimeout(
    () => {
      shown.timer = null;
      const wanted = route();
      // Who works in another tab sees the title.
      if (document.hidden) document.title = title(wanted.id);
      else paint();
    },
    shown.page === null ? 0 : wait,
  );
}

function paint() {
  shown.at = Date.now();
  const wanted = route();
  const page = link.asksLogin ? 'login' : (wanted.id ?? '');
  const focused = document.activeElement;
  if (shown.page !== page) draw(main);
  draw(document.getElementById('who'), who(app));
  if (link.asksLogin) return paintLogin();
  draw(main, wanted.id === undefined ? overview(app) : detail(app, wanted.id));
  if (wanted.id !== undefined) drawNeeds(main, store.relocation(wanted.id));
  if (shown.page === page) refocus(focused);
  shown.page = page;
  document.documentElement.classList.toggle('frozen', !link.connected());
  document.title = title(wanted.id);
  draw(document.getElementById('connection'), connection());
  draw(document.getElementById('live'), live());
  draw(document.getElementById('version'), store.version ? `version ${store.version}` : '');
  redrawDialog();
}

/** Drawing must not lose the place of who works by keyboard: what moved is focused again, instead of what went, the heading. */
function refocus(focused) {
  if (!focused || focused === document.body || document.activeElement !== document.body) return;
  const next = focused.isConnected ? focused : document.getElementById('title');
  next?.focus({ preventScroll: true });
}

function paintLogin() {
  draw(main, login(app));
  document.title = 'Log in · FluidCloud';
  document.getElementById('dialog').close();
  for (const name of ['connection', 'live', 'version']) draw(document.getElementById(name));
  if (shown.page === 'login') return;
  shown.page = 'login';
  document.getElementById('token').focus();
}

function title(id) {
  if (id !== undefined) {
    const status = store.relocation(id);
    return status ? `${status.service}: ${words.phase(status.phase).says} · FluidCloud` : 'Relocation · FluidCloud';
  }
  const asks = store.statuses().filter((status) => words.needsPerson(status)).length;
  return `${asks ? `(${asks}) ` : ''}Overview · FluidCloud`;
}

/** What is shown is not true any more, or not known to be: said at the top, with the time of what is known. */
function connection() {
  if (!link.connected()) {
    const known = store.receivedAt
      ? `Not connected, showing what was known at ${app.knownAt()}`
      : 'Not connected, and nothing is known yet';
    return h(
      'div',
      { class: 'banner bad' },
      icon('warning'),
      h('p', {}, h('strong', {}, known), `: ${link.failure}. It is asked again every two seconds.`),
    );
  }
  if (!link.busConnected)
    return h(
      'div',
      { class: 'banner bad' },
      icon('warning'),
      h(
        'p',
        {},
        h('strong', {}, 'The broker has lost the bus'),
        ': what is shown is what it last heard. See that the message queue runs.',
      ),
    );
  if (link.missesNotices())
    return h(
      'div',
      { class: 'banner ask' },
      icon('clock'),
      h('p', {}, 'No live events at the moment: what is shown is refreshed every ten seconds.'),
    );
  return null;
}

function live() {
  if (!store.receivedAt) return 'connecting';
  if (!link.connected()) return h('span', { class: 'bad' }, 'not connected');
  if (link.missesNotices()) return h('span', { class: 'ask' }, `as of ${clock(store.receivedAt)}`);
  return h('span', { class: 'good' }, 'live');
}

// --- what is said to screen readers ---

const phases = new Map();
const saying = { lines: [], timer: null };

function say(text) {
  saying.lines.push(text);
  saying.timer ??= setTimeout(
    () => {
      document.getElementById('say').textContent = saying.lines.slice(-4).join(' ');
      Object.assign(saying, { lines: [], timer: null });
    },
    saying.lines.length > 1 ? SAY_EVERY_MS : 200,
  );
}

/** Only phases and the connection are said: numbers are there for who asks for them. */
function tell() {
  for (const status of store.statuses()) {
    const now = `${status.phase}${words.has(status, 'paused') ? ', paused' : ''}${words.has(status, 'stalled') ? ', stalled' : ''}`;
    const before = phases.get(status.id);
    phases.set(status.id, now);
    if (before && before !== now)
      say(`${status.service}: ${words.phase(status.phase).says}${now.slice(status.phase.length)}.`);
  }
}

store.onChange(() => {
  tell();
  redraw();
});
addEventListener('hashchange', arrive);
addEventListener('resize', redraw);
document.querySelector('.skip').addEventListener('click', (event) => {
  // The address names the page; the place in it must not replace that.
  event.preventDefault();
  main.focus();
});
document.addEventListener('visibilitychange', () => document.hidden || redraw());
setInterval(redraw, TICK_MS);
arrive(null);
link.start();
