// Owns: pieces that both pages are made of: the badge of a phase, the notes of what is stuck and what to do, the bar of what
// was copied, the rail of stages, and tables.

import { h } from './dom.js';
import { badge, icon } from './icons.js';
import * as words from './words.js';
import { bytes, duration, percent, rate } from './units.js';

export function phaseBadge(status) {
  const told = words.phase(status.phase);
  if (words.has(status, 'paused') && !words.hasEnded(status)) return badge('ask', `paused in ${told.says}`, 'pause');
  if (words.has(status, 'stalled') && words.moves(status)) return badge('ask', `stalled in ${told.says}`, 'warning');
  const drawn = {
    Stuck: 'warning',
    AwaitingCutover: 'person',
    RollingBack: 'undo',
    RolledBack: 'undo',
    Canceling: 'undo',
  }[status.phase];
  return badge(told.tone, told.says, drawn);
}

export function route(status) {
  const target = status.target ?? 'target not chosen yet';
  return h(
    'span',
    { class: 'route' },
    h('span', { class: 'name' }, status.source),
    icon('arrow'),
    h('span', { class: 'hidden' }, ' to '),
    h('span', { class: status.target ? 'name' : 'quiet' }, target),
  );
}

export function note(tone, iconName, ...content) {
  return h('div', { class: `note ${tone}` }, icon(iconName), h('div', {}, content));
}

/** What went wrong and what to do about it: the message is the what, the remedy the what-to-do. */
export function failureNote(failure, tone = 'bad', more = null) {
  return note(
    tone,
    'warning',
    h('p', { class: 'says' }, told(failure.message)),
    failure.remedy ? h('p', {}, h('strong', {}, 'What to do: '), told(failure.remedy)) : null,
    more ? h('p', {}, more) : null,
  );
}

export function sentence(text) {
  return text ? text[0].toUpperCase() + text.slice(1) : text;
}

/** A sentence in which what is between backticks is code. */
export function told(text) {
  return sentence(String(text ?? ''))
    .split('`')
    .map((piece, index) => (index % 2 ? code(piece) : piece));
}

/** Everything about a relocation that somebody should read first, most urgent first. */
export function notes(status) {
  const notes = [];
  const why = words.needsPerson(status);
  const stuck = status.phase === 'Stuck' && status.failure;
  if (stuck)
    notes.push(
      failureNote(
        status.failure,
        'bad',
        'It is stuck in undoing: nothing goes on by itself. Remove the cause, then retry.',
      ),
    );
  else if (why)
    notes.push(
      note(
        why.rank === 0 ? 'bad' : 'ask',
        why.rank === 3 ? 'pause' : 'person',
        h('p', { class: 'says' }, sentence(why.says), '.'),
      ),
    );
  if (status.failure && !stuck)
    notes.push(
      failureNote(status.failure, status.phase === 'Canceling' || status.phase === 'Canceled' ? 'over' : 'bad'),
    );
  for (const step of status.steps ?? []) {
    if (step.state !== 'retrying' || !step.failure) continue;
    notes.push(
      note(
        'ask',
        'retry',
        h(
          'p',
          { class: 'says' },
          `${sentence(words.stepName(step.id))} failed and is tried again: `,
          told(step.failure.message),
        ),
        h('p', {}, h('strong', {}, 'If it does not go by itself: '), told(step.failure.remedy)),
      ),
    );
  }
  for (const { code, text } of words.conditions(status)) {
    if (!text) continue;
    const tone = code === 'past_no_return' ? 'over' : 'ask';
    notes.push(
      note(
        tone,
        tone === 'over' ? 'info' : 'warning',
        h('p', {}, h('strong', {}, `${sentence(code.replaceAll('_', ' '))}: `), text),
      ),
    );
  }
  return notes;
}

/** What is copied of all disks, as a bar and in words. */
export function copied(status) {
  const sum = words.progress(status);
  if (sum.total === 0) return null;
  const done = percent(sum.done, sum.total);
  return h(
    'div',
    { class: 'copied' },
    h('progress', { max: 100, value: done, 'aria-label': `copied of ${status.service}` }),
    h('span', { class: 'number' }, `${done} %`),
    h('span', { class: 'quiet number' }, `${bytes(sum.done)} of ${bytes(sum.total)}`),
  );
}

/** The time left: until it has ended when the conduit tells it, else of the copy alone, else that nobody knows. */
export function timeLeft(status) {
  if (!words.moves(status)) return null;
  if (status.eta_seconds !== undefined && status.eta_seconds !== null)
    return { value: duration(status.eta_seconds), of: 'left until it has ended' };
  const { copyEta } = words.progress(status);
  if (copyEta !== null) return { value: duration(copyEta), of: 'left of the copy; the rest unknown' };
  return { value: 'unknown', of: status.phase === 'AwaitingCutover' ? 'it waits for you' : 'time left' };
}

export function speed(status) {
  const sum = words.progress(status);
  return sum.running > 0 && words.moves(status) ? rate(sum.rate) : null;
}

/** The stages of every relocation, and where this one is. */
export function rail(status) {
  const at = words.phase(status.phase).rank ?? null;
  const over = words.hasEnded(status);
  const stages = words.STAGES.map((name, index) => {
    const state = at === null ? 'unknown' : index < at ? 'done' : index === at && !over ? 'now' : 'next';
    return h(
      'li',
      { class: `stage ${state}`, 'aria-current': state === 'now' ? 'step' : null },
      name,
      h('span', { class: 'hidden' }, state === 'done' ? ', done' : state === 'now' ? ', now' : ''),
    );
  });
  return at === null ? null : h('ol', { class: 'rail', 'aria-label': 'Stages' }, stages);
}

/** A pair of a value and what it is. */
export function fact(label, value, more = null) {
  return h(
    'div',
    { class: 'fact' },
    h('dt', {}, label),
    h('dd', {}, value, more ? h('span', { class: 'more' }, more) : null),
  );
}

/**
 * A table that becomes a list of labelled values where it is narrow. `columns` are `{says, number}`; `rows` are
 * `{key, cells, class}`; the first cell of each row is its header.
 */
export function table(caption, every, all, props = {}) {
  // A column without a single value says nothing.
  const kept = every.map((_, index) => index === 0 || all.some((row) => row.cells[index] !== '–'));
  const columns = every.filter((_, index) => kept[index]);
  const rows = all.map((row) => ({ ...row, cells: row.cells.filter((_, index) => kept[index]) }));
  const head = columns.map((column) => h('th', { scope: 'col', class: column.number ? 'number' : null }, column.says));
  const body = rows.map((row) =>
    h(
      'tr',
      { key: row.key, class: row.class },
      row.cells.map((cell, index) => {
        const column = columns[index];
        const shared = {
          class:
            [column.number ? 'number' : '', column.class ?? '', cell === '–' ? 'none' : ''].join(' ').trim() || null,
          'data-label': column.says,
        };
        return index === 0 ? h('th', { scope: 'row', ...shared }, cell) : h('td', shared, cell);
      }),
    ),
  );
  // A box that can scroll sideways must be reachable by keyboard.
  return h(
    'div',
    { class: `table ${props.class ?? ''}`, role: 'group', tabindex: 0, 'aria-label': caption },
    h('table', {}, h('caption', { class: 'hidden' }, caption), h('thead', {}, h('tr', {}, head)), h('tbody', {}, body)),
  );
}

export function section(id, title, aside, ...content) {
  return h(
    'section',
    { class: `panel ${id}`, 'aria-labelledby': `${id}-title`, key: id },
    h('header', {}, h('h2', { id: `${id}-title` }, title), aside ? h('span', { class: 'aside' }, aside) : null),
    content,
  );
}

export function code(text) {
  return h('code', {}, text);
}

export function empty(...content) {
  return h('div', { class: 'empty' }, content);
}
