// Owns: the buttons of actions and the dialog that asks before anything is sent: what will happen, kept true while the
// relocation moves on behind it, and the broker's answer if it refuses.

import { possible } from './actions.js';
import { draw, h } from './dom.js';
import { icon } from './icons.js';
import { phaseBadge, told } from './pieces.js';
import { order } from './link.js';
import { short } from './units.js';

/** How long "asked" is shown when nothing changes. */
const ASKED_SHOWN_MS = 20_000;

let open = null;

/** What can be asked of it now. */
export function buttons(app, status) {
  const asked = waiting(app, status);
  const actions = possible(status);
  if (actions.length === 0 && !asked) return null;
  return h(
    'div',
    {
      class: 'actions',
      key: 'actions',
      role: 'group',
      'aria-label': `Actions for ${status.service} ${short(status.id)}`,
    },
    actions.map((action) =>
      h(
        'button',
        {
          type: 'button',
          key: action.name,
          class: action.weight ?? '',
          'aria-haspopup': 'dialog',
          on: { click: () => ask(app, status.id, action) },
        },
        icon(action.icon),
        action.label,
        h('span', { class: 'hidden' }, ` ${status.service} ${short(status.id)}`),
      ),
    ),
    asked
      ? h(
          'span',
          { class: 'asked', key: 'asked' },
          icon('clock'),
          `${asked.label} was asked; the conduit has not answered yet`,
        )
      : null,
  );
}

const situation = (status) =>
  JSON.stringify([status.phase, status.conditions ?? [], status.steps?.map((step) => step.state)]);

function waiting(app, status) {
  const asked = app.asked.get(status.id);
  if (!asked) return null;
  if (asked.situation === situation(status) && Date.now() - asked.at < ASKED_SHOWN_MS) return asked;
  app.asked.delete(status.id);
  return null;
}

function ask(app, id, action) {
  const element = document.getElementById('dialog');
  open = { app, id, action, element, busy: false, problem: null, opener: document.activeElement };
  redrawDialog();
  element.onclose = close;
  element.showModal();
  // What keeps things as they are has the focus: Enter alone must not do harm.
  element.querySelector('button.keep')?.focus();
}

function close() {
  const { opener, app } = open ?? {};
  open = null;
  // The button may have gone with what it did.
  if (opener?.isConnected) opener.focus();
  else document.getElementById('title')?.focus();
  app?.redraw();
}

/** Called whenever something has changed: what the dialog promises must be true when the button is pressed. */
export function redrawDialog() {
  if (!open) return;
  const { app, id, action, element, busy, problem } = open;
  const status = app.store.relocation(id);
  const still = status && action.shown(status);
  const warns = still ? action.warns(status).filter(Boolean) : [];
  draw(
    element,
    h('h2', { id: 'dialog-title' }, status ? action.title(status) : action.label),
    status ? h('p', { class: 'line' }, phaseBadge(status), h('span', { class: 'id' }, id)) : null,
    h(
      'div',
      { id: 'dialog-says', key: 'says' },
      still
        ? warns.map((text) => h('div', { class: 'note ask' }, icon('warning'), h('p', { class: 'says' }, told(text))))
        : null,
      still
        ? h(
            'ul',
            { class: 'says' },
            action
              .says(status)
              .filter(Boolean)
              .map((text) => h('li', {}, text)),
          )
        : null,
      still ? null : h('p', {}, 'This is no longer possible: the relocation has gone on meanwhile.'),
      app.link.connected()
        ? null
        : h(
            'div',
            { class: 'note ask' },
            icon('warning'),
            h('p', {}, `The broker does not answer. This is what was known at ${app.knownAt()}.`),
          ),
    ),
    h('div', { role: 'alert', key: 'problem' }, problem ? refusal(problem) : null),
    h(
      'div',
      { class: 'answers', key: 'answers' },
      h(
        'button',
        { type: 'button', class: 'keep', key: 'keep', on: { click: () => element.close() } },
        still ? action.keep : 'Close',
      ),
      still
        ? h(
            'button',
            {
              type: 'button',
              key: 'confirm',
              class: action.weight === 'grave' ? 'grave' : 'first',
              disabled: busy,
              on: { click: send },
            },
            busy ? 'Asking …' : problem ? 'Try again' : action.confirm,
          )
        : null,
    ),
  );
}

function refusal(problem) {
  return h(
    'div',
    { class: 'note bad' },
    icon('cross'),
    h(
      'div',
      {},
      h('p', { class: 'says' }, told(problem.detail ?? problem.title ?? 'It was refused.')),
      problem.remedy ? h('p', {}, h('strong', {}, 'What to do: '), told(problem.remedy)) : null,
      problem.code ? h('p', { class: 'quiet' }, `code ${problem.code}`) : null,
    ),
  );
}

async function send() {
  const mine = open;
  if (!mine || mine.busy) return;
  Object.assign(mine, { busy: true, problem: null });
  redrawDialog();
  try {
    await order(mine.id, mine.action.path);
    const status = mine.app.store.relocation(mine.id);
    if (status) mine.app.asked.set(mine.id, { label: mine.action.label, at: Date.now(), situation: situation(status) });
    mine.app.say(`${mine.action.label} was asked of ${status?.service ?? 'the relocation'}.`);
    if (open === mine) mine.element.close();
  } catch (problem) {
    mine.problem = problem;
  }
  mine.busy = false;
  if (open === mine) redrawDialog();
}
