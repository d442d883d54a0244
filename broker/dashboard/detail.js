// Owns: the page of one relocation, from what matters now to what is looked up: notes, numbers, topology, viaducts, steps,
// report.

import { h } from './dom.js';
import { buttons } from './dialog.js';
import { empty, fact, notes, phaseBadge, rail, route, speed, timeLeft } from './pieces.js';
import { reportPanels } from './report.js';
import { stepsPanel } from './steps.js';
import { topologyPanel } from './topology.js';
import { viaductsPanel } from './viaducts.js';
import * as words from './words.js';
import { bytes, duration, moment, percent, short } from './units.js';

export function detail(app, id) {
  const status = app.store.relocation(id);
  if (!status) return missing(app, id);
  return [
    h(
      'nav',
      { class: 'crumbs', key: 'crumbs', 'aria-label': 'Breadcrumb' },
      h('a', { href: '#/' }, 'Overview'),
      h('span', { 'aria-hidden': 'true' }, ' / '),
      h('span', {}, short(id)),
    ),
    h(
      'div',
      { class: 'top', key: 'top' },
      h('h1', { tabindex: -1, id: 'title' }, status.service),
      phaseBadge(status),
      route(status),
      buttons(app, status),
    ),
    h('div', { key: 'notes', class: 'notes' }, notes(status), app.silence(status)),
    rail(status),
    numbers(app, status),
    over(status, status.parts, status.transfers) ? null : topologyPanel(status),
    // Of one that has ended, what came of it is read first.
    words.hasEnded(status) ? reportPanels(status) : null,
    over(status, status.transfers) ? null : viaductsPanel(app, status),
    over(status, status.steps) ? null : stepsPanel(app, status),
    words.hasEnded(status) ? null : reportPanels(status),
    h(
      'footer',
      { class: 'foot', key: 'foot' },
      h('span', { class: 'id' }, id),
      h('span', { class: 'quiet' }, `revision ${status.revision}`),
      h('a', { href: `/v1/relocations/${encodeURIComponent(id)}` }, 'Raw JSON'),
    ),
  ];
}

/** It has ended, and there never was any of this: nothing more will come. */
function over(status, ...lists) {
  return words.hasEnded(status) && lists.every((list) => !list?.length);
}

function missing(app, id) {
  const says = app.store.receivedAt
    ? [
        h('p', { class: 'says' }, `No relocation ${id} is known.`),
        h(
          'p',
          {},
          'If the broker or the conduit was just started, it appears within seconds. ',
          h('a', { href: '#/' }, 'See all relocations'),
        ),
      ]
    : h('p', {}, 'Asking the broker …');
  return [h('div', { class: 'top', key: 'top' }, h('h1', { tabindex: -1, id: 'title' }, 'Relocation')), empty(says)];
}

/** What can still become of it. */
function standing(status, runs) {
  if (runs.committed) return 'past the point of no return';
  if (words.hasEnded(status)) return null;
  if (status.phase === 'Stuck') return 'its undo waits for you';
  return words.goesBack(status) ? 'what was done is being undone' : 'everything can still be undone';
}

function numbers(app, status) {
  const sum = words.progress(status);
  const runs = words.whereItRuns(status);
  const left = timeLeft(status);
  const quick = speed(status);
  const created = Date.parse(status.created_at);
  const changed = Date.parse(status.changed_at);
  const over = words.hasEnded(status);
  const downtime = status.report?.downtime_seconds;
  return h(
    'dl',
    { class: 'facts big', key: 'numbers' },
    runs ? fact('Service', h('span', { class: `tone ${runs.tone}` }, runs.says), standing(status, runs)) : null,
    sum.total
      ? fact(
          'Copied',
          `${percent(sum.done, sum.total)} %`,
          `${bytes(sum.done)} of ${bytes(sum.total)}, ${bytes(sum.wire)} on the wire`,
        )
      : null,
    quick ? fact('Rate', app.was(quick), 'of data read at the source') : null,
    left ? fact('ETA', app.was(left.value), left.of) : null,
    sum.steps ? fact('Steps', `${sum.stepsDone} of ${sum.steps}`, sum.stepsSay) : null,
    over && words.movesInstances(status)
      ? fact(
          'Downtime',
          downtime === null || downtime === undefined ? 'none' : duration(downtime),
          downtime ? 'until it answered again' : 'it was never stopped',
        )
      : null,
    fact(
      over ? 'Took' : 'Running for',
      duration(Math.max(0, ((over ? changed : app.now()) - created) / 1000)),
      `since ${moment(created, app.now())}`,
    ),
    over ? fact('Ended', moment(changed, app.now())) : null,
  );
}
