// Owns: what the states of the protocol are called on the page, and what follows from a status by looking at it: who
// runs now, whether it moves, whether a person is needed. Pure; refuses to know the page.

/** Phases in the order in which a relocation goes through them, and how each reads. */
const PHASES = {
  Pending: { says: 'pending', tone: 'run', rank: 0 },
  Inspecting: { says: 'inspecting', tone: 'run', rank: 0 },
  Planned: { says: 'planned', tone: 'run', rank: 1 },
  InitialSync: { says: 'initial sync', tone: 'run', rank: 2 },
  DeltaSync: { says: 'delta sync', tone: 'run', rank: 2 },
  AwaitingCutover: { says: 'awaiting cutover', tone: 'ask', rank: 3 },
  FinalSync: { says: 'final sync', tone: 'run', rank: 3 },
  Adapting: { says: 'adapting', tone: 'run', rank: 4 },
  Creating: { says: 'creating', tone: 'run', rank: 5 },
  Verifying: { says: 'verifying', tone: 'run', rank: 6 },
  Succeeded: { says: 'succeeded', tone: 'good', rank: 7 },
  Failed: { says: 'failed', tone: 'bad' },
  Canceling: { says: 'canceling', tone: 'run' },
  Canceled: { says: 'canceled', tone: 'over' },
  RollingBack: { says: 'rolling back', tone: 'ask' },
  RolledBack: { says: 'rolled back', tone: 'bad' },
  Stuck: { says: 'stuck', tone: 'bad' },
};
export const PHASE_NAMES = Object.keys(PHASES);
export const STAGES = ['Inspect', 'Plan', 'Sync', 'Cutover', 'Adapt', 'Create', 'Verify'];

const STEP_STATES = {
  waiting: { says: 'waits', tone: 'over', icon: 'ring' },
  running: { says: 'runs', tone: 'run', icon: 'moving' },
  retrying: { says: 'failed, tried again', tone: 'ask', icon: 'retry' },
  done: { says: 'done', tone: 'good', icon: 'check' },
  failed: { says: 'failed', tone: 'bad', icon: 'cross' },
  undoing: { says: 'is being undone', tone: 'ask', icon: 'undo' },
  undone: { says: 'undone', tone: 'over', icon: 'undo' },
};

const ENDED = new Set(['Succeeded', 'Failed', 'Canceled', 'RolledBack']);
const BACKWARD = new Set(['Canceling', 'RollingBack']);
/** Images and containers are told as if they had one disk of that name. */
export const LONE = new Set(['image', 'container', 'volume']);
const UNKNOWN = { says: 'unknown', tone: 'over', icon: 'ring' };

export const phase = (name) => PHASES[name] ?? { ...UNKNOWN, says: String(name) };
export const stepState = (name) => STEP_STATES[name] ?? { ...UNKNOWN, says: String(name) };
export const hasEnded = (status) => ENDED.has(status.phase);
export const goesBack = (status) => BACKWARD.has(status.phase);
/** Something happens by itself. */
export const moves = (status) => !hasEnded(status) && status.phase !== 'Stuck' && !has(status, 'paused');

/** A step id is a word, or `{word: subject}` where the subject is a component or a disk of one. */
export function stepKind(id) {
  return typeof id === 'string' ? id : (Object.keys(id ?? {})[0] ?? 'unknown');
}

export function stepSubject(id) {
  const subject = typeof id === 'string' ? null : Object.values(id ?? {})[0];
  return subject && typeof subject === 'object' ? diskName(subject) : subject;
}

export function stepName(id) {
  return [stepKind(id).replaceAll('_', ' '), stepSubject(id)].filter(Boolean).join(' ');
}

export const diskName = (disk) => `${disk.component}/${disk.disk}`;

/** A disk as a person calls it: what moves alone has no disk that anybody knows by name. */
export const diskTitle = (disk) => (LONE.has(disk.disk) ? `${disk.component}, ${disk.disk}` : diskName(disk));

/** Conditions are `code` or `code: text`. */
export function conditions(status) {
  return (status.conditions ?? []).map((told) => {
    const at = told.indexOf(':');
    const code = at < 0 ? told : told.slice(0, at);
    return { code, text: at < 0 ? '' : told.slice(at + 1).trim() };
  });
}

export const has = (status, code) => conditions(status).some((condition) => condition.code === code);

function any(status, kind, ...states) {
  return (status.steps ?? []).some((step) => stepKind(step.id) === kind && states.includes(step.state));
}

export const isCommitted = (status) => any(status, 'commit', 'done') || status.phase === 'Succeeded';
/** The source was asked to stop and was not started again. */
export const sourceStopped = (status) => any(status, 'freeze', 'running', 'retrying', 'done', 'undoing');
export const movesInstances = (status) =>
  (status.steps ?? []).some((step) => stepKind(step.id) === 'freeze') ||
  (status.parts ?? []).some((part) => part.kind === 'instance');

/** Where the service runs now, as far as the steps tell. */
export function whereItRuns(status) {
  if (!movesInstances(status)) return null;
  const target = status.target ?? 'the target';
  if (isCommitted(status)) return { says: `runs at ${target}`, tone: 'good', committed: true };
  if (status.phase === 'Stuck' && any(status, 'freeze', 'failed'))
    return { says: 'down: its source was not started again', tone: 'bad' };
  if (status.phase === 'Stuck' && sourceStopped(status)) return { says: 'down: its source is stopped', tone: 'bad' };
  if (any(status, 'verify', 'running', 'retrying') && !goesBack(status))
    return { says: `starting at ${target}`, tone: 'ask' };
  if (any(status, 'freeze', 'undoing')) return { says: `starting again at ${status.source}`, tone: 'ask' };
  if (any(status, 'freeze', 'running', 'retrying')) return { says: `stopping at ${status.source}`, tone: 'ask' };
  if (sourceStopped(status)) return { says: 'down: its source is stopped', tone: 'ask' };
  return { says: `runs at ${status.source}`, tone: 'good' };
}

/** Why somebody must look, or null. The order is that of urgency. */
export function needsPerson(status) {
  if (status.phase === 'Stuck') return { rank: 0, says: 'stuck: it goes on when you removed the cause and retry' };
  if (status.phase === 'AwaitingCutover' && !has(status, 'paused'))
    return { rank: 1, says: 'waits for your approval of the cutover' };
  if (has(status, 'stalled'))
    return { rank: 2, says: 'stalled: no step has moved for long, such as no worker for a task' };
  if (has(status, 'paused')) return { rank: 3, says: 'paused: it goes on when you resume it' };
  return null;
}

/** Sums over its disks, what is left, and the counts of steps. */
export function progress(status) {
  const sum = { total: 0, done: 0, wire: 0, read: 0, rate: 0, copyEta: null, running: 0 };
  for (const { state, progress: told } of status.transfers ?? []) {
    sum.total += told.bytes_total;
    sum.done += told.bytes_done;
    sum.wire += told.bytes_on_wire;
    sum.read += told.bytes_read;
    if (state !== 'running') continue;
    sum.running += 1;
    sum.rate += told.rate_bytes_per_sec;
    if (told.eta_seconds !== undefined) sum.copyEta = Math.max(sum.copyEta ?? 0, told.eta_seconds);
  }
  sum.rate = status.rate_bytes_per_sec ?? sum.rate;
  const steps = status.steps ?? [];
  const finished =
    goesBack(status) || ['Stuck', 'RolledBack', 'Canceled', 'Failed'].includes(status.phase) ? 'undone' : 'done';
  return {
    ...sum,
    steps: steps.length,
    stepsSay: finished,
    stepsDone: steps.filter((step) => step.state === finished).length,
  };
}

/** Urgent first, then running, then ended; within each the newest first. */
export function inOrder(statuses) {
  const rank = (status) => needsPerson(status)?.rank ?? (hasEnded(status) ? 9 : 5);
  return [...statuses].sort((a, b) => rank(a) - rank(b) || Date.parse(b.created_at) - Date.parse(a.created_at));
}
