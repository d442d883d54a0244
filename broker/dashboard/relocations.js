// Owns: the list of relocations: those that move or need a person as cards, those that have ended as a table; filters.

import { h } from './dom.js';
import { buttons } from './dialog.js';
import {
  code,
  copied,
  empty,
  fact,
  notes,
  phaseBadge,
  rail,
  route,
  section,
  speed,
  table,
  timeLeft,
} from './pieces.js';
import * as words from './words.js';
import { ago, bytes, duration, moment, plural, short } from './units.js';

/** Ended ones shown before somebody asks for all. */
const ENDED_SHOWN = 25;

const GROUPS = [
  ['', 'all phases', () => true],
  ['person', 'needs a person', (status) => words.needsPerson(status) !== null],
  ['running', 'running', (status) => words.moves(status)],
  ['ended', 'ended', (status) => words.hasEnded(status)],
  ['unwell', 'failed, rolled back, stuck', (status) => ['Failed', 'RolledBack', 'Stuck'].includes(status.phase)],
  ...words.PHASE_NAMES.map((name) => [name, words.phase(name).says, (status) => status.phase === name]),
];

export function relocationsPanel(app) {
  const all = words.inOrder(app.store.statuses());
  if (!app.store.receivedAt)
    return section('relocations', 'Relocations', null, empty(h('p', {}, 'Asking the broker …')));
  if (all.length === 0) return section('relocations', 'Relocations', null, first(app.store));
  const shown = all.filter(matches(app.filter));
  const live = shown.filter((status) => !words.hasEnded(status));
  const ended = shown.filter((status) => words.hasEnded(status));
  const count = shown.length === all.length ? String(all.length) : `${shown.length} of ${all.length}`;
  return section(
    'relocations',
    'Relocations',
    count,
    filters(app),
    shown.length === 0 ? nothing(app) : null,
    live.length > 0
      ? h(
          'ul',
          { class: 'cards', key: 'live' },
          live.map((status) => card(app, status)),
        )
      : null,
    ended.length > 0 ? endedTable(app, ended) : null,
  );
}

function matches({ text, group }) {
  const accepts = GROUPS.find(([name]) => name === group)?.[2] ?? (() => true);
  const wanted = text.trim().toLowerCase().split(/\s+/);
  return (status) => {
    const told = [
      status.service,
      status.id,
      status.source,
      status.target,
      status.phase,
      words.phase(status.phase).says,
      ...(status.conditions ?? []),
    ];
    const held = told.filter(Boolean).join(' ').toLowerCase();
    return accepts(status) && wanted.every((word) => held.includes(word));
  };
}

function filters(app) {
  const { filter } = app;
  return h(
    'form',
    {
      class: 'filters',
      key: 'filters',
      role: 'search',
      'aria-label': 'Filter relocations',
      on: { submit: (event) => event.preventDefault() },
    },
    h(
      'label',
      {},
      h('span', { class: 'hidden' }, 'Text in name, id or provider'),
      h('input', {
        type: 'search',
        id: 'filter-text',
        placeholder: 'Name, id or provider',
        value: filter.text,
        autocomplete: 'off',
        on: { input: (event) => app.setFilter({ text: event.target.value }) },
      }),
    ),
    h(
      'label',
      {},
      h('span', { class: 'hidden' }, 'Phase'),
      h(
        'select',
        { id: 'filter-phase', on: { change: (event) => app.setFilter({ group: event.target.value }) } },
        GROUPS.map(([name, says]) => h('option', { value: name, key: name, selected: name === filter.group }, says)),
      ),
    ),
  );
}

function nothing(app) {
  return h(
    'div',
    { class: 'empty', key: 'nothing' },
    h('p', {}, 'No relocation matches this filter.'),
    h('button', { type: 'button', on: { click: () => app.setFilter({ text: '', group: '' }) } }, 'Show all'),
  );
}

function first(store) {
  const reachable = store.providers.find((provider) => provider.reachable)?.id ?? 'PROVIDER';
  return empty(
    h('p', { class: 'says' }, 'Nothing has been relocated yet.'),
    h(
      'ol',
      {},
      store.providers.length === 0
        ? h('li', {}, 'Name your clouds in the configuration, then start again: ', code('fluidcloud up'))
        : null,
      h('li', {}, 'See what is there and what would hinder a move: ', code(`fluidcloud inspect ${reachable}`)),
      h(
        'li',
        {},
        'Describe what moves, in a file such as shop.yaml:',
        h('pre', { tabindex: 0, 'aria-label': 'Example of a request' }, example(store)),
      ),
      h('li', {}, 'Try it without changing anything: ', code('fluidcloud plan shop.yaml --rehearse')),
      h('li', {}, 'Relocate it: ', code('fluidcloud relocate shop.yaml --wait')),
    ),
    h('p', { class: 'quiet' }, 'It appears here as soon as the conduit has taken the request.'),
  );
}

function example({ providers }) {
  const source = providers[0]?.id ?? 'cloud-a';
  const target = providers.find((provider) => provider.id !== source)?.id ?? 'cloud-b';
  return [
    'version: 1',
    'service:',
    '  name: shop',
    `  provider: ${source}`,
    '  components:',
    '    - name: app',
    '      instance: {id: NAME-OF-THE-INSTANCE}',
    `target: {provider: ${target}}   # or leave it out: the first that fits`,
  ].join('\n');
}

function card(app, status) {
  const sum = words.progress(status);
  const runs = words.whereItRuns(status);
  const left = timeLeft(status);
  const quick = speed(status);
  const running = (status.steps ?? []).filter((step) => ['running', 'undoing', 'retrying'].includes(step.state));
  const tone = words.needsPerson(status) ? (status.phase === 'Stuck' ? 'bad' : 'ask') : words.phase(status.phase).tone;
  return h(
    'li',
    { class: `card ${tone}`, key: status.id },
    h(
      'div',
      { class: 'head' },
      h(
        'h3',
        {},
        h(
          'a',
          { href: `#/relocations/${status.id}` },
          status.service,
          h('span', { class: 'hidden' }, `, relocation ${short(status.id)}`),
        ),
      ),
      phaseBadge(status),
      route(status),
      h('span', { class: 'id' }, short(status.id)),
    ),
    notes(status),
    rail(status),
    copied(status),
    h(
      'dl',
      { class: 'facts' },
      fact(
        'Steps',
        `${sum.stepsDone} of ${sum.steps} ${sum.stepsSay}`,
        running.length
          ? running
              .slice(0, 3)
              .map((step) => words.stepName(step.id))
              .join(', ')
          : null,
      ),
      quick ? fact('Rate', app.was(quick)) : null,
      left ? fact('ETA', app.was(left.value), left.of) : null,
      runs ? fact('Service', runs.says) : null,
      fact('Requested', ago((app.now() - Date.parse(status.created_at)) / 1000)),
    ),
    app.silence(status),
    buttons(app, status),
  );
}

function endedTable(app, ended) {
  const shown = app.showAllEnded ? ended : ended.slice(0, ENDED_SHOWN);
  const columns = [
    { says: 'Ended' },
    { says: 'Outcome' },
    { says: 'From, to' },
    { says: 'At', number: true },
    { says: 'Took', number: true },
    { says: 'Downtime', number: true },
    { says: 'On wire', number: true },
  ];
  const rows = shown.map((status) => {
    const sum = words.progress(status);
    const downtime = status.report?.downtime_seconds;
    return {
      key: status.id,
      cells: [
        h(
          'a',
          { href: `#/relocations/${status.id}` },
          status.service,
          h('span', { class: 'id' }, ` ${short(status.id)}`),
        ),
        [
          phaseBadge(status),
          status.failure && status.phase !== 'Canceled' ? h('span', { class: 'why' }, status.failure.message) : null,
        ],
        route(status),
        moment(Date.parse(status.changed_at), app.now()),
        duration((Date.parse(status.changed_at) - Date.parse(status.created_at)) / 1000),
        downtime === null || downtime === undefined ? 'none' : duration(downtime),
        sum.total ? [bytes(sum.wire), h('span', { class: 'more' }, `of ${bytes(sum.total)}`)] : '–',
      ],
    };
  });
  return h(
    'div',
    { key: 'ended' },
    table('Relocations that have ended', columns, rows, { class: 'stacks' }),
    ended.length > shown.length
      ? h(
          'button',
          { type: 'button', on: { click: () => app.showAll() } },
          `Show ${plural(ended.length - shown.length, 'more', 'more')}`,
        )
      : null,
  );
}
