// Owns: each transfer as the pipeline that it is: from the source's site over reading, dropping and reusing to the wire and
// the target, with its bar, its numbers and its last minutes.

import { h } from './dom.js';
import { badge, icon } from './icons.js';
import { chart } from './chart.js';
import { empty, section } from './pieces.js';
import * as words from './words.js';
import { bytes, duration, percent, rate } from './units.js';

export function viaductsPanel(app, status) {
  const transfers = status.transfers ?? [];
  if (transfers.length === 0) {
    const says = words.hasEnded(status)
      ? 'Nothing was copied.'
      : 'Nothing is copied yet. A viaduct appears here for each disk, image and container as soon as its bytes move.';
    return section('viaducts', 'Viaducts', null, empty(says));
  }
  const running = transfers.filter((transfer) => transfer.state === 'running').length;
  return section(
    'viaducts',
    'Viaducts',
    running ? `${running} of ${transfers.length} running` : null,
    h(
      'div',
      { class: 'viaduct-list' },
      transfers.map((transfer) => viaduct(app, status, transfer)),
    ),
  );
}

function viaduct(app, status, transfer) {
  const told = transfer.progress;
  const name = words.diskName(transfer.disk);
  const state = words.stepState(transfer.state);
  const runs = transfer.state === 'running' && words.moves(status);
  const report = (status.report?.transfers ?? []).find((one) => words.diskName(one.disk) === name);
  const samples = app.store.history.of(status, transfer.disk);
  return h(
    'article',
    { class: `viaduct${runs ? ' runs' : ''}`, key: name, 'aria-label': `Viaduct of ${name}` },
    h(
      'div',
      { class: 'line' },
      h('h3', {}, words.diskTitle(transfer.disk)),
      badge(state.tone, state.says, state.icon),
      runs ? h('span', { class: 'number' }, app.was(`${rate(told.rate_bytes_per_sec)} read`)) : null,
      runs
        ? h(
            'span',
            { class: 'quiet number' },
            told.eta_seconds === undefined ? 'time left unknown' : `${app.was(duration(told.eta_seconds))} left`,
          )
        : null,
      report ? h('span', { class: 'quiet number' }, `in ${duration(report.seconds)}`) : null,
      report
        ? report.verified
          ? badge('good', 'digests equal')
          : badge('bad', 'digests not compared', 'warning')
        : null,
    ),
    bar(told, name),
    pipeline(status, transfer, report),
    runs || samples.length > 2 ? chart(samples, name, app.frozenAt() ?? Date.now(), runs) : null,
  );
}

/** What became of every byte of the disk: the parts of the bar are in the order of the legend. */
function bar(told, name) {
  const zero = Math.min(told.bytes_zero, told.bytes_done);
  const reused = Math.min(told.bytes_reused, told.bytes_done - zero);
  const written = Math.max(0, told.bytes_done - zero - reused);
  const share = (part) => (told.bytes_total > 0 ? Math.max(0, (part / told.bytes_total) * 100) : 0);
  const parts = [
    ['written', written],
    ['reused', reused],
    ['zero', zero],
  ];
  let x = 0;
  const drawn = parts.map(([kind, part]) => {
    const rect = h('rect', { class: kind, x, y: 0, width: share(part), height: 10 });
    x += share(part);
    return rect;
  });
  const says = `${name}: ${percent(told.bytes_done, told.bytes_total)} % settled: ${bytes(written)} written, ${bytes(reused)} reused, ${bytes(zero)} zeros and free`;
  return h(
    'div',
    { class: 'bar' },
    h(
      'svg',
      { role: 'img', 'aria-label': says, viewBox: '0 0 100 10', preserveAspectRatio: 'none' },
      h('rect', { class: 'rest', x: 0, y: 0, width: 100, height: 10 }),
      drawn,
    ),
    h('span', { class: 'number share' }, `${percent(told.bytes_done, told.bytes_total)} %`),
  );
}

function pipeline(status, transfer, report) {
  const told = transfer.progress;
  const whole = words.LONE.has(transfer.disk.disk) ? transfer.disk.disk : 'disk';
  const free = report?.bytes_free ?? null;
  const dropped =
    free === null ? 'zeros and free space, not sent' : `not sent; ${bytes(free)} of it free, not even read`;
  const settled = told.bytes_done >= told.bytes_total && told.bytes_total > 0;
  const times = told.bytes_on_wire > 0 ? told.bytes_done / told.bytes_on_wire : 0;
  const stages = [
    {
      name: status.source,
      value: told.bytes_total ? bytes(told.bytes_total) : '–',
      more: told.bytes_total ? `the whole ${whole}` : 'not opened yet',
      end: true,
    },
    { name: 'read', value: bytes(told.bytes_read), more: `${percent(told.bytes_read, told.bytes_total)} % of it` },
    { name: 'dropped', swatch: 'zero', value: bytes(told.bytes_zero), more: dropped },
    { name: 'reused', swatch: 'reused', value: bytes(told.bytes_reused), more: 'there already, not sent' },
    {
      name: 'on the wire',
      swatch: 'written',
      value: bytes(told.bytes_on_wire),
      more: times >= 1.05 ? `${times.toFixed(1)} times less than settled` : 'compressed and encrypted',
    },
    {
      name: status.target ?? 'target',
      value: bytes(told.bytes_done),
      more: transfer.state === 'undone' ? 'discarded again' : settled ? 'all of it settled' : 'settled',
      end: true,
    },
  ];
  return h(
    'ol',
    { class: 'pipeline', 'aria-label': 'From source to target' },
    stages.map((stage, index) =>
      h(
        'li',
        { class: stage.end ? 'end' : null },
        index > 0 ? h('span', { class: 'flow', 'aria-hidden': 'true' }, icon('arrow')) : null,
        h(
          'span',
          { class: 'label' },
          stage.swatch ? h('span', { class: `swatch ${stage.swatch}`, 'aria-hidden': 'true' }) : null,
          stage.name,
        ),
        h('span', { class: 'value number' }, stage.value),
        h('span', { class: 'more' }, stage.more),
      ),
    ),
  );
}
