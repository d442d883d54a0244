// Owns: what a person can ask of a relocation, as one table: when it makes sense, and what will happen in the situation at
// hand. Another action is one more entry. The broker and the conduit have the last word; refuses to send anything.

import * as words from './words.js';
import { bytes, duration } from './units.js';

const UNDOABLE = new Set([
  'reserve',
  'furnish',
  'address',
  'prepare',
  'freeze',
  'snapshot',
  'copy',
  'create',
  'set_aside',
  'keep_image',
  'verify',
]);

const forward = (status) => words.moves(status) && !words.goesBack(status);
const target = (status) => status.target ?? 'the target';

/**
 * `path` is what is posted below the relocation. `shown` says whether it makes sense now; `says` gives the sentences of
 * the dialog for this status, `warns` those that must not be overlooked; `confirm` and `keep` are the two answers.
 */
const ACTIONS = [
  {
    name: 'approve',
    label: 'Approve cutover',
    path: 'approve',
    icon: 'check',
    weight: 'first',
    shown: (status) => status.phase === 'AwaitingCutover' && !words.has(status, 'paused'),
    title: (status) => `Cut ${status.service} over to ${target(status)}?`,
    says: (status) => [
      `The source at ${status.source} is stopped now, the last changes are copied and compared, and the service starts at ${target(status)}.`,
      ...left(status),
      'It can still be canceled until the commit: then the source starts again. At the source nothing is deleted.',
    ],
    warns: () => ['Downtime begins at once.'],
    confirm: 'Cut over now',
    keep: 'Not yet',
  },
  {
    name: 'retry',
    label: 'Retry',
    path: 'retry',
    icon: 'retry',
    weight: 'first',
    shown: (status) => status.phase === 'Stuck',
    title: (status) => `Try again to undo ${status.service}?`,
    says: (status) => [
      ...stuckSteps(status),
      'What was undone already is not done again. When all is undone, the relocation ends, and the source runs as before.',
      'If the cause is still there, it fails the same way after its attempts and is stuck again; nothing is lost by that.',
    ],
    warns: (status) => (status.failure ? [`First: ${status.failure.remedy}`] : []),
    confirm: 'The cause is removed: retry',
    keep: 'Leave it stuck',
  },
  {
    name: 'resume',
    label: 'Resume',
    path: 'resume',
    icon: 'play',
    weight: 'first',
    shown: (status) => words.has(status, 'paused') && !words.hasEnded(status),
    title: (status) => `Let ${status.service} go on?`,
    says: (status) => [
      `It goes on where it stopped, in ${words.phase(status.phase).says}. What is durable at the target is not sent again.`,
      words.sourceStopped(status)
        ? 'The source is stopped: downtime ends when the service answers at its target.'
        : `The service keeps running at ${status.source}.`,
    ],
    warns: () => [],
    confirm: 'Resume',
    keep: 'Stay paused',
  },
  {
    name: 'pause',
    label: 'Pause',
    path: 'pause',
    icon: 'pause',
    // From its check on a target may serve, and what it is given must not be lost.
    shown: (status) =>
      forward(status) &&
      !words.isCommitted(status) &&
      !status.steps?.some((step) => step.id?.verify !== undefined && step.state !== 'waiting'),
    title: (status) => `Pause ${status.service}?`,
    says: (status) => [
      ...running(status, 'Running now'),
      'No further step begins until you resume. What was copied stays at the target and is not sent again.',
      words.sourceStopped(status)
        ? null
        : `The source has not been stopped: the service keeps running at ${status.source} meanwhile.`,
    ],
    warns: (status) =>
      words.sourceStopped(status)
        ? [
            'The source is stopped already: the service is down, and every minute of the pause is a minute more of downtime.',
          ]
        : [],
    confirm: 'Pause',
    keep: 'Let it go on',
  },
  {
    name: 'cancel',
    label: 'Cancel',
    path: 'cancel',
    icon: 'undo',
    weight: 'grave',
    shown: (status) =>
      !words.hasEnded(status) && status.phase !== 'Stuck' && !words.goesBack(status) && !words.isCommitted(status),
    title: (status) => `Cancel the relocation of ${status.service}?`,
    says: (status) => [
      ...undone(status),
      words.sourceStopped(status)
        ? `The source at ${status.source} is started again: the service is down until then, and runs there afterwards as before.`
        : `The source at ${status.source} was not stopped and keeps running throughout.`,
      ...copiedSoFar(status),
      'It cannot be taken back; to relocate it later, make a new request with a new id.',
    ],
    warns: (status) =>
      commitNear(status)
        ? ['The commit is near. Once it is done, canceling is refused, and the service stays at its target.']
        : [],
    confirm: 'Cancel and undo',
    keep: 'Do not cancel',
  },
];

export const possible = (status) => ACTIONS.filter((action) => action.shown(status));

function running(status, label) {
  const names = (status.steps ?? []).filter((step) => step.state === 'running').map((step) => words.stepName(step.id));
  return names.length ? [`${label}: ${names.join(', ')}.`] : [];
}

function left(status) {
  const { total, done, copyEta } = words.progress(status);
  if (!total) return [];
  const missing = total - done;
  if (missing <= 0) return ['All that was known to differ is copied; only what changes until the stop is left.'];
  return [
    `${bytes(missing)} are left to copy, zeros and free space among them${copyEta === null ? '' : `: about ${duration(copyEta)}`}.`,
  ];
}

function undone(status) {
  const done = (status.steps ?? []).filter(
    (step) => UNDOABLE.has(words.stepKind(step.id)) && ['running', 'retrying', 'done'].includes(step.state),
  );
  if (done.length === 0) return ['Nothing has been done yet that must be undone.'];
  return [
    `What was done so far is undone, in reverse: ${done
      .reverse()
      .map((step) => words.stepName(step.id))
      .join(', ')}.`,
  ];
}

function copiedSoFar(status) {
  const { done } = words.progress(status);
  return done > 0
    ? [`The copies at ${target(status)} are discarded (${bytes(done)} so far). Nothing at the source is deleted.`]
    : [];
}

function commitNear(status) {
  return ['Verifying', 'Creating'].includes(status.phase) && words.movesInstances(status);
}

function stuckSteps(status) {
  const failed = (status.steps ?? [])
    .filter((step) => step.state === 'failed' && UNDOABLE.has(words.stepKind(step.id)))
    .map((step) => words.stepName(step.id));
  return failed.length
    ? [`Tried again: the undo of ${failed.join(', ')}.`]
    : ['What could not be undone is tried again.'];
}
