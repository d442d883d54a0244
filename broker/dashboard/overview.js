// Owns: the first page: everything at a glance, what needs a person on top.

import { h } from './dom.js';
import { feedPanel, providersPanel, queuesPanel, workersPanel } from './surroundings.js';
import { relocationsPanel } from './relocations.js';
import * as words from './words.js';
import { plural } from './units.js';

export function overview(app) {
  const { store } = app;
  return [
    h(
      'div',
      { class: 'top', key: 'top' },
      h('h1', { tabindex: -1, id: 'title' }, 'Overview'),
      store.receivedAt ? summary(store, app) : null,
    ),
    h(
      'div',
      { class: 'columns', key: 'columns' },
      h('div', { class: 'main' }, relocationsPanel(app), feedPanel(app)),
      h('div', { class: 'side' }, providersPanel(app), workersPanel(app), queuesPanel(app)),
    ),
  ];
}

/** One line that says whether anything is wrong, for a glance in passing. */
function summary(store, app) {
  const statuses = store.statuses();
  const asks = statuses.filter((status) => words.needsPerson(status)).length;
  const runs = statuses.filter((status) => words.moves(status) && !words.needsPerson(status)).length;
  const away = store.providers.filter((provider) => !provider.reachable).length;
  const workers = [...store.workers.values()];
  const silent = workers.filter((worker) => app.isSilent(worker)).length;
  const says = [
    [asks > 0 ? 'bad' : '', asks > 0 ? `${asks} ${asks === 1 ? 'needs' : 'need'} you` : 'nothing needs you'],
    ['', `${runs} running`],
    [away > 0 ? 'bad' : '', away > 0 ? `${plural(away, 'provider')} away` : plural(store.providers.length, 'provider')],
    [
      silent > 0 ? 'ask' : '',
      silent > 0 ? `${plural(workers.length, 'worker')}, ${silent} silent` : plural(workers.length, 'worker'),
    ],
  ];
  return h(
    'ul',
    { class: 'summary' },
    says.map(([tone, text]) => h('li', { class: tone }, text)),
  );
}
