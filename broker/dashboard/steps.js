// Owns: the steps of a relocation as a table.

import { h } from './dom.js';
import { badge } from './icons.js';
import { section, table, told } from './pieces.js';
import * as words from './words.js';
import { duration, percent, short } from './units.js';

const COLUMNS = [
  { says: 'Step' },
  { says: 'State' },
  { says: 'Time', number: true },
  { says: 'Share of time', class: 'share' },
  { says: 'Attempts', number: true },
  { says: 'Worker' },
  { says: 'Failure' },
];

export function stepsPanel(app, status) {
  const steps = status.steps ?? [];
  if (steps.length === 0)
    return section(
      'steps',
      'Steps',
      null,
      h('div', { class: 'empty' }, 'There is no plan yet: it is made after the inspection.'),
    );
  const sum = words.progress(status);
  const seconds = steps.map((step) => app.store.stepSeconds(status, step, app.frozenAt()));
  const longest = Math.max(...seconds, 1);
  const rows = steps.map((step, index) => row(app, status, step, seconds[index], longest));
  return section(
    'steps',
    'Steps',
    `${sum.stepsDone} of ${steps.length} ${sum.stepsSay}`,
    table('Steps', COLUMNS, rows, { class: 'stacks' }),
  );
}

function row(app, status, step, seconds, longest) {
  const name = words.stepName(step.id);
  const state = words.stepState(step.state);
  return {
    key: name,
    class: `step ${step.state}`,
    cells: [
      [name, words.stepKind(step.id) === 'commit' ? h('span', { class: 'more' }, 'the point of no return') : null],
      [badge(state.tone, state.says, state.icon), h('span', { class: 'more number' }, copying(status, step))],
      step.state === 'waiting'
        ? '–'
        : ['running', 'undoing'].includes(step.state)
          ? app.was(duration(Math.floor(seconds) || 0))
          : duration(seconds),
      step.state === 'waiting' ? '–' : share(seconds, longest),
      step.attempts > 0 ? String(step.attempts) : '–',
      step.worker ? h('span', { class: 'id', title: step.worker }, workerName(app, step.worker)) : '–',
      step.failure
        ? h(
            'div',
            { class: 'why' },
            told(step.failure.message),
            h('span', { class: 'more' }, told(step.failure.remedy)),
          )
        : '–',
    ],
  };
}

/** Where the time went: against the step that took longest. The same is told in the column before, in words. */
function share(seconds, longest) {
  const width = Math.max(0.5, (seconds / longest) * 100);
  return h(
    'svg',
    { viewBox: '0 0 100 8', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    h('rect', { class: 'took', x: 0, y: 0, width, height: 8, rx: 1 }),
  );
}

function copying(status, step) {
  if (words.stepKind(step.id) !== 'sync' || step.state !== 'running') return null;
  const transfer = (status.transfers ?? []).find((one) => words.diskName(one.disk) === words.stepSubject(step.id));
  return transfer ? `${percent(transfer.progress.bytes_done, transfer.progress.bytes_total)} %` : null;
}

function workerName(app, id) {
  const worker = app.store.workers.get(id);
  return worker ? `${worker.kinds.join(', ')} ${short(id.replace(/^worker-/, ''))}` : id.slice(0, 15);
}
