// Owns: throughput of the last minutes as a drawing, and the same in words and as a table for who does not see it.

import { h } from './dom.js';
import { GAP_MS, KEPT_SECONDS, summary } from './history.js';
import { clock, duration, rate } from './units.js';

const WIDTH = 640;
const HEIGHT = 120;
const LEFT = 8;
const TOP = 8;
const BOTTOM = 18;
const ROWS_MAX = 12;
const SPANS = [60, 120, 300, KEPT_SECONDS];
const MIB = 2 ** 20;

export function chart(samples, name, now, runs) {
  const end = runs || samples.length === 0 ? now : samples.at(-1).at;
  const age = samples.length ? (end - samples[0].at) / 1000 : 0;
  const seconds = SPANS.find((span) => age <= span) ?? KEPT_SECONDS;
  const shown = samples.filter((sample) => sample.at >= end - seconds * 1000);
  const read = summary(shown, 'read');
  const wire = summary(shown, 'wire');
  if (!read || shown.length < 2)
    return h('p', { class: 'quiet chartless' }, runs ? 'Throughput is drawn from the second report on.' : '');
  const top = scale(Math.max(read.highest, wire?.highest ?? 0));
  const x = (at) => LEFT + ((at - (end - seconds * 1000)) / (seconds * 1000)) * (WIDTH - 2 * LEFT);
  const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
  const says = `Throughput of ${name} in the last ${duration(seconds)}: ${told('data read', read)}${wire ? `; ${told('on the wire', wire)}` : ''}`;
  return h(
    'figure',
    { class: 'chart' },
    h(
      'div',
      { class: 'plot' },
      h(
        'svg',
        { role: 'img', 'aria-label': says, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none' },
        [0, 0.5, 1].map((part) =>
          h('line', { class: 'grid', x1: LEFT, x2: WIDTH - LEFT, y1: y(top * part), y2: y(top * part) }),
        ),
        runsOf(shown, 'read').map((run) => h('path', { class: 'area', d: area(run, x, y, 'read') })),
        runsOf(shown, 'read').map((run) => h('path', { class: 'read', d: path(run, x, y, 'read') })),
        runsOf(shown, 'wire').map((run) => h('path', { class: 'wire', d: path(run, x, y, 'wire') })),
      ),
      h('span', { class: 'axis high', 'aria-hidden': 'true' }, rate(top)),
      h('span', { class: 'axis from', 'aria-hidden': 'true' }, clock(end - seconds * 1000)),
      h('span', { class: 'axis to', 'aria-hidden': 'true' }, clock(end)),
    ),
    h(
      'figcaption',
      {},
      h('span', { class: 'key read' }, told('data read', read)),
      wire ? h('span', { class: 'key wire' }, told('on the wire', wire)) : null,
    ),
    h('details', {}, h('summary', {}, 'as a table'), numbers(shown)),
  );
}

const told = (what, { now, highest, mean }) => `${what} ${rate(now)} (highest ${rate(highest)}, mean ${rate(mean)})`;

/** A round number of MiB/s not below the highest. */
function scale(highest) {
  const wanted = Math.max(highest / MIB, 1);
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = [1, 2, 3, 4, 5, 6, 8, 10].find((factor) => factor * power >= wanted) ?? 10;
  return step * power * MIB;
}

/** Stretches without a gap. */
function runsOf(samples, field) {
  const runs = [];
  let last = null;
  for (const sample of samples) {
    if (sample[field] === null) {
      last = null;
      continue;
    }
    if (!last || sample.at - last.at > GAP_MS) runs.push([]);
    runs.at(-1).push(sample);
    last = sample;
  }
  return runs.filter((run) => run.length > 1);
}

const path = (run, x, y, field) =>
  run.map((sample, index) => `${index ? 'L' : 'M'}${x(sample.at).toFixed(1)} ${y(sample[field]).toFixed(1)}`).join('');
const area = (run, x, y, field) =>
  `${path(run, x, y, field)}L${x(run.at(-1).at).toFixed(1)} ${y(0)}L${x(run[0].at).toFixed(1)} ${y(0)}Z`;

function numbers(samples) {
  const every = Math.max(1, Math.ceil(samples.length / ROWS_MAX));
  const rows = samples.filter((_, index) => (samples.length - 1 - index) % every === 0).reverse();
  return h(
    'table',
    { class: 'slim' },
    h('caption', { class: 'hidden' }, 'Throughput, newest first'),
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        ['Time', 'Data read', 'On the wire'].map((says, index) =>
          h('th', { scope: 'col', class: index ? 'number' : null }, says),
        ),
      ),
    ),
    h(
      'tbody',
      {},
      rows.map((sample) =>
        h(
          'tr',
          { key: sample.at },
          h('th', { scope: 'row' }, clock(sample.at)),
          h('td', { class: 'number' }, rate(sample.read)),
          h('td', { class: 'number' }, sample.wire === null ? '–' : rate(sample.wire)),
        ),
      ),
    ),
  );
}
