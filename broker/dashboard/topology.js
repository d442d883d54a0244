// Owns: the service before and after, side by side: each component at the source, its disks on their way, and what it
// becomes at the target; what stays behind, and who needs whom.

import { h } from './dom.js';
import { badge, icon } from './icons.js';
import { needsMap } from './needs.js';
import { empty, section } from './pieces.js';
import { atSource, atTarget, becomes, kindName, partsOf, stepOf, transferOf } from './parts.js';
import * as words from './words.js';
import { bytes, percent, plural } from './units.js';

export function topologyPanel(status) {
  const parts = partsOf(status);
  if (parts.length === 0)
    return section('topology', 'Topology', null, empty('The service is being inspected: its components appear here.'));
  const moving = parts.filter((part) => part.kind !== 'stays').length;
  const stays = parts.length - moving;
  const count = `${plural(moving, 'component')} ${moving === 1 ? 'moves' : 'move'}${stays ? `, ${stays} ${stays === 1 ? 'stays' : 'stay'}` : ''}`;
  return section(
    'topology',
    'Topology',
    count,
    h(
      'div',
      { class: 'map' },
      needsMap(),
      h(
        'div',
        { class: 'sites', 'aria-hidden': 'true' },
        h('span', {}, 'before: ', h('strong', {}, status.source)),
        h('span', {}),
        h('span', {}, 'after: ', h('strong', {}, status.target ?? 'not chosen yet')),
      ),
      h(
        'ul',
        { class: 'part-list' },
        parts.map((part) => (part.kind === 'stays' ? staying(status, part, parts) : moved(status, part, parts))),
      ),
    ),
  );
}

function moved(status, part, parts) {
  const target = becomes(status, part);
  const disks = part.disks ?? [];
  return h(
    'li',
    { key: part.component, class: 'part', 'aria-label': `Component ${part.component}` },
    h(
      'div',
      { class: 'node before' },
      head(part, part.name ?? part.component, atSource(status, part), `before, at ${status.source}`),
      size(part),
      needs(part, parts),
      networks(part),
    ),
    disks.length
      ? h(
          'ul',
          { class: 'pipes', 'aria-label': `Disks of ${part.component}` },
          disks.map((disk) => pipe(status, part, disk)),
        )
      : alone(status, part),
    h(
      'div',
      { class: `node after${target.settled ? '' : ' planned'}` },
      head(part, target.name ?? part.component, atTarget(status, part), `after, at ${status.target ?? 'the target'}`),
      folded(status, part),
      addresses(target),
      copiedThings(status, part),
    ),
  );
}

function head(part, name, state, where) {
  return h(
    'div',
    { class: 'head' },
    icon(part.kind === 'volume' ? 'disk' : part.kind),
    h('span', { class: 'hidden' }, `${where}: `),
    h('strong', { class: 'name' }, name),
    name === part.component ? null : h('span', { class: 'quiet' }, part.component),
    part.kind === 'instance' ? null : h('span', { class: 'quiet' }, kindName(part.kind)),
    state ? badge(state.tone, state.says) : null,
  );
}

function size(part) {
  const told = [
    part.vcpus ? plural(part.vcpus, 'vCPU') : null,
    part.memory_bytes ? `${bytes(part.memory_bytes)} memory` : null,
  ].filter(Boolean);
  return told.length ? h('div', { class: 'quiet number' }, told.join(', ')) : null;
}

function needs(part, parts) {
  const needed = part.needs ?? [];
  if (needed.length === 0) return null;
  const kind = (component) => parts.find((one) => one.component === component)?.kind ?? 'link';
  return h(
    'div',
    { class: 'chips' },
    h('span', { class: 'quiet' }, 'needs'),
    needed.map((component) =>
      h(
        'span',
        { class: `chip ${kind(component)}` },
        icon(kind(component) === 'volume' ? 'disk' : kind(component)),
        component,
      ),
    ),
  );
}

function networks(part) {
  const named = part.networks ?? [];
  return named.length ? h('div', { class: 'quiet' }, `in ${named.join(', ')}`) : null;
}

/** A disk on its way: how much of it has arrived, and what it becomes. */
function pipe(status, part, disk) {
  const transfer = transferOf(status, part.component, disk.disk);
  const told = transfer?.progress;
  const done = told?.bytes_total ? percent(told.bytes_done, told.bytes_total) : null;
  const verified = (status.report?.transfers ?? []).find(
    (one) => words.diskName(one.disk) === `${part.component}/${disk.disk}`,
  )?.verified;
  const state =
    transfer?.state === 'running'
      ? 'runs'
      : transfer?.state === 'done'
        ? 'done'
        : transfer?.state === 'undone'
          ? 'undone'
          : '';
  const size = disk.size_bytes ?? told?.bytes_total;
  const says = verified ? 'equal' : transfer?.state === 'undone' ? 'discarded' : done === null ? 'waits' : `${done} %`;
  return h(
    'li',
    { class: `pipe ${state}`, key: disk.disk },
    h(
      'span',
      { class: 'what' },
      icon('disk'),
      words.LONE.has(disk.disk) ? null : h('span', { class: 'name' }, disk.disk),
      h(
        'span',
        { class: 'quiet number' },
        [disk.role === 'root' ? 'root' : null, size ? bytes(size) : null].filter(Boolean).join(', '),
      ),
    ),
    h(
      'svg',
      { class: 'tube', viewBox: '0 0 100 6', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
      h('rect', { class: 'rest', x: 0, y: 0, width: 100, height: 6 }),
      h('rect', { class: 'filled', x: 0, y: 0, width: done ?? 0, height: 6 }),
    ),
    h('span', { class: 'says number' }, verified ? icon('check') : null, says),
  );
}

function alone(status, part) {
  const transfer = transferOf(status, part.component);
  return h(
    'ul',
    { class: 'pipes', 'aria-label': `Copy of ${part.component}` },
    transfer
      ? pipe(status, part, { disk: transfer.disk.disk, role: 'data', size_bytes: transfer.progress.bytes_total })
      : h(
          'li',
          { class: 'pipe' },
          h('span', { class: 'what' }, icon('arrow'), kindName(part.kind)),
          h('span', { class: 'says' }, atTarget(status, part).says),
        ),
  );
}

/** Volumes that become a directory of the root file system. */
function folded(status, part) {
  const told = (part.disks ?? []).filter((disk) => disk.fold_into);
  const steps = (status.steps ?? []).filter(
    (step) => words.stepKind(step.id) === 'fold' && Object.values(step.id)[0].component === part.component,
  );
  const lines = told.length
    ? told.map((disk) => [disk.disk, disk.fold_into, stepOf(status, 'fold', part.component, disk.disk)])
    : steps.map((step, index) => [
        Object.values(step.id)[0].disk,
        status.report?.folded?.[index]?.into ?? 'the root file system',
        step,
      ]);
  return lines.length
    ? h(
        'ul',
        { class: 'lines' },
        lines.map(([disk, into, step]) =>
          h('li', { key: disk }, icon('disk'), `${disk} ${step?.state === 'done' ? 'is' : 'becomes'} ${into}`),
        ),
      )
    : null;
}

function addresses(target) {
  if (target.addresses.length === 0)
    return target.plain.length ? h('div', { class: 'number' }, target.plain.join(', ')) : null;
  return h(
    'ul',
    { class: 'lines' },
    target.addresses.map((one) =>
      h(
        'li',
        { key: `${one.mac} ${one.kind} ${one.old} ${one.new}`, class: 'number' },
        h('span', { class: one.old === one.new ? '' : 'quiet' }, one.old ?? 'none'),
        one.old === one.new ? null : [icon('arrow'), h('span', { class: 'hidden' }, ' is now '), one.new ?? 'none'],
        h('span', { class: 'quiet' }, one.kind === 'floating' ? ' floating' : one.network ? ` in ${one.network}` : ''),
      ),
    ),
  );
}

function copiedThings(status, part) {
  const of = (list) => (list ?? []).find((one) => one.component === part.component);
  const image = of(status.report?.images);
  const container = of(status.report?.containers);
  if (image) return h('div', { class: 'quiet number' }, `${bytes(image.bytes)} of ${image.disk_format}`);
  return container
    ? h('div', { class: 'quiet number' }, `${plural(container.objects, 'object')}, ${bytes(container.bytes)}`)
    : null;
}

function staying(status, part, parts) {
  const users = parts.filter((one) => (one.needs ?? []).includes(part.component)).map((one) => one.component);
  const after = words.isCommitted(status)
    ? `reached from ${status.target} now`
    : `must be reached from ${status.target ?? 'the target'}`;
  return h(
    'li',
    { key: part.component, class: 'part stays', 'aria-label': `${part.component} stays` },
    h(
      'div',
      { class: 'node' },
      h(
        'div',
        { class: 'head' },
        icon('stays'),
        h('strong', { class: 'name' }, part.component),
        badge('over', 'stays where it is', 'stays'),
      ),
      h('div', { class: 'url' }, part.name ?? ''),
      h(
        'div',
        { class: 'quiet' },
        [users.length ? `needed by ${users.join(', ')}` : null, after].filter(Boolean).join('; '),
      ),
    ),
  );
}
