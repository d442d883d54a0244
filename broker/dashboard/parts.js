// Owns: what a service is made of, and what has become of each part by now, from the status alone: `parts` when the conduit
// tells them, else what transfers, steps and report give away. Pure.

import * as words from './words.js';

const KINDS = { instance: 'instance', volume: 'volume', image: 'image', container: 'container', stays: 'stays' };
export const kindName = (kind) => KINDS[kind] ?? String(kind);

/** In an order in which what is needed comes before what needs it; what stays is last. */
export function partsOf(status) {
  const parts = status.parts?.length ? status.parts : guessed(status);
  const left = new Map(parts.map((part) => [part.component, part]));
  const ordered = [];
  const take = (part, path) => {
    if (!left.delete(part.component)) return;
    for (const need of part.needs ?? [])
      if (left.has(need) && !path.includes(need)) take(left.get(need), [...path, need]);
    ordered.push(part);
  };
  for (const part of parts) take(part, [part.component]);
  return ordered.sort((a, b) => (a.kind === 'stays') - (b.kind === 'stays'));
}

/** Without `parts`: what has a disk in transfer, or a step of its own. */
function guessed(status) {
  const parts = new Map();
  const part = (component) => {
    if (!parts.has(component))
      parts.set(component, { component, kind: 'volume', name: null, needs: [], disks: [], networks: [] });
    return parts.get(component);
  };
  for (const { disk, progress } of status.transfers ?? []) {
    const here = part(disk.component);
    here.disks.push({ disk: disk.disk, size_bytes: progress.bytes_total, role: here.disks.length ? 'data' : 'root' });
    if (disk.disk === 'image' || disk.disk === 'container') Object.assign(here, { kind: disk.disk, disks: [] });
  }
  for (const step of status.steps ?? []) {
    const kind = words.stepKind(step.id);
    const subject = typeof step.id === 'string' ? null : Object.values(step.id)[0];
    if (kind === 'freeze') part(subject).kind = 'instance';
    if (kind === 'prepare' && !part(subject.component).disks.some((disk) => disk.disk === subject.disk)) {
      part(subject.component).disks.push({ disk: subject.disk, size_bytes: null, role: 'data' });
    }
  }
  for (const address of status.report?.addresses ?? [])
    if (parts.has(address.component)) parts.get(address.component).name = address.name;
  return [...parts.values()];
}

/** The step of this kind for a component or one of its disks. */
export function stepOf(status, kind, component, disk = null) {
  return (status.steps ?? []).find((step) => {
    if (words.stepKind(step.id) !== kind) return false;
    return words.stepSubject(step.id) === (disk === null ? component : `${component}/${disk}`);
  });
}

export function transferOf(status, component, disk = null) {
  return (status.transfers ?? []).find(
    (one) => one.disk.component === component && (disk === null || one.disk.disk === disk),
  );
}

const UNDONE = new Set(['Failed', 'Canceled', 'RolledBack']);

/** Whether it runs where it came from. */
export function atSource(status, part) {
  if (part.kind === 'stays') return null;
  if (part.kind !== 'instance') return { says: 'stays as it is', tone: 'over' };
  if (words.isCommitted(status)) return { says: 'stopped, kept', tone: 'over' };
  const freeze = stepOf(status, 'freeze', part.component);
  if (!freeze || freeze.state === 'waiting' || freeze.state === 'undone') return { says: 'runs', tone: 'good' };
  if (freeze.state === 'undoing') return { says: 'is started again', tone: 'ask' };
  if (freeze.state === 'failed') return { says: 'not started again', tone: 'bad' };
  if (freeze.state === 'running') return { says: 'is being stopped', tone: 'ask' };
  return UNDONE.has(status.phase) ? { says: 'runs', tone: 'good' } : { says: 'stopped', tone: 'ask' };
}

/** What is at the target by now. */
export function atTarget(status, part) {
  if (part.kind === 'stays') return { says: 'reached from there', tone: 'over' };
  if (UNDONE.has(status.phase)) return { says: 'nothing is left here', tone: 'over' };
  if (words.goesBack(status)) return { says: 'is being removed', tone: 'ask' };
  const state = (kind) => stepOf(status, kind, part.component)?.state;
  if (status.phase === 'Stuck')
    return ['done', 'failed'].includes(state('create'))
      ? { says: 'still defined here', tone: 'ask' }
      : { says: 'nothing runs here', tone: 'over' };
  if (part.kind !== 'instance') {
    const transfer = transferOf(status, part.component);
    const copy = state('copy');
    if (words.isCommitted(status)) return { says: 'there', tone: 'good' };
    if (transfer?.state === 'done' || copy === 'done') return { says: 'copied', tone: 'good' };
    return transfer?.state === 'running' || copy === 'running'
      ? { says: 'is being copied', tone: 'run' }
      : { says: 'to be copied', tone: 'over' };
  }
  if (words.isCommitted(status) || state('verify') === 'done') return { says: 'runs', tone: 'good' };
  if (['running', 'retrying'].includes(state('verify'))) return { says: 'starts, is verified', tone: 'run' };
  if (state('create') === 'done') return { says: 'defined, off', tone: 'run' };
  return { says: 'not there yet', tone: 'over' };
}

/** What is known of it at the target: its name, whether that is settled, and its addresses. */
export function becomes(status, part) {
  const { report } = status;
  const of = (list) => (list ?? []).find((one) => one.component === part.component);
  const found = of(report?.instances);
  const moved =
    found?.instance ?? of(report?.volumes)?.name ?? of(report?.images)?.name ?? of(report?.containers)?.name;
  const addresses = (report?.addresses ?? []).filter((one) => one.component === part.component && (one.old || one.new));
  return {
    name: moved ?? part.target_name ?? part.name,
    settled: Boolean(moved),
    addresses,
    plain: found?.addresses ?? [],
  };
}
