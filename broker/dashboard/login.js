// Owns: the way in: a token for a session. The token is sent once and kept nowhere on this page; the browser keeps a cookie that
// no script can read.

import { h } from './dom.js';
import { icon } from './icons.js';
import { logIn, logOut } from './link.js';

const state = { busy: false, problem: null, stays: null };

/** In place of everything else, as long as the broker asks who this is. */
export function login(app) {
  return h(
    'section',
    { class: 'panel login', key: 'login', 'aria-labelledby': 'title' },
    h('h1', { id: 'title', tabindex: '-1' }, 'Log in'),
    h(
      'form',
      { on: { submit: (event) => send(app, event) } },
      h('label', { for: 'token' }, 'Token'),
      h('input', {
        id: 'token',
        name: 'token',
        type: 'password',
        autocomplete: 'current-password',
        spellcheck: 'false',
        required: 'required',
        'aria-describedby': 'token-says',
      }),
      h(
        'p',
        { id: 'token-says', class: 'quiet' },
        'Made on the broker’s host with ',
        h('code', {}, 'fluidcloud token create NAME --role operator'),
        '. A viewer looks, an operator relocates and cancels, an admin also sees who did what.',
      ),
      h(
        'div',
        { role: 'alert', key: 'problem' },
        state.problem
          ? h(
              'div',
              { class: 'note bad' },
              icon('warning'),
              h('p', {}, h('strong', {}, `${state.problem.detail}.`), ` ${state.problem.remedy}`),
            )
          : null,
      ),
      h('button', { type: 'submit', class: 'first', disabled: state.busy }, state.busy ? 'Asking …' : 'Log in'),
    ),
  );
}

async function send(app, event) {
  event.preventDefault();
  if (state.busy) return;
  const field = event.target.elements.token;
  Object.assign(state, { busy: true, problem: null });
  app.redraw();
  try {
    await logIn(field.value);
    state.stays = null;
    field.value = '';
    await app.link.entered();
    document.getElementById('title')?.focus();
  } catch (problem) {
    state.problem = problem;
    field.focus();
    field.select();
  } finally {
    state.busy = false;
    app.redraw();
  }
}

/** Who is logged in, and the way out. */
export function who(app) {
  const known = app.link.who;
  if (!known) return null;
  if (known.development) return h('span', { class: 'quiet' }, 'development start');
  return [
    state.stays ? h('span', { class: 'bad', key: 'stays' }, state.stays) : null,
    h('span', { class: 'quiet', key: 'who' }, `${known.name} (${known.role})`),
    h(
      'button',
      {
        type: 'button',
        key: 'out',
        on: {
          click: async () => {
            try {
              await logOut();
              app.link.left();
            } catch (problem) {
              state.stays = `You are still logged in: ${problem.detail}`;
              app.say(state.stays);
              app.redraw();
            }
          },
        },
      },
      'Log out',
    ),
  ];
}
