// Owns: what happened, as lines: each change of a phase, of a step, of a condition, of a provider, once. Bounded.

import * as words from './words.js';
import { duration, plural } from './units.js';

const LINES_MAX = 200;

export class Feed {
  lines = [];
  #last = new Map();
  #refused = new Set();
  #providers = new Map();
  #dead = null;
  #number = 0;

  /** `at` is null for what was before the page was opened: then the status' own time of change is told. */
  relocation(status, at) {
    const before = this.#last.get(status.id);
    if (before && before.revision >= status.revision) return;
    this.#last.set(status.id, status);
    const about = { id: status.id, service: status.service };
    const when = Date.parse(status.changed_at) || at;
    if (!before && at === null) {
      // The first that is known of it: one line for where it stands.
      this.#say(when, words.phase(status.phase).tone, about, words.phase(status.phase).says);
      return;
    }
    if (!before)
      this.#say(when, 'run', about, `requested: ${status.source} to ${status.target ?? 'a target to be chosen'}`);
    this.#steps(before, status, about, when);
    this.#conditions(before, status, about, when);
    if (before && before.phase !== status.phase) {
      const told = words.phase(status.phase);
      const why = status.failure && !words.moves(status) ? `${told.says}: ${status.failure.message}` : told.says;
      this.#say(when, told.tone, about, why, true);
    }
  }

  refused(id, failure, at) {
    const key = `${id} ${failure.message}`;
    if (at === null && this.#refused.has(key)) return;
    this.#refused.add(key);
    this.#say(
      at,
      'bad',
      id ? { id: null, service: `request ${id.slice(0, 8)}` } : { id: null, service: 'a request' },
      `refused: ${failure.message}; ${failure.remedy}`,
      true,
    );
  }

  worker(seen, at) {
    const does = `${seen.kinds.join(', ')} at ${seen.sites.length ? seen.sites.join(', ') : 'every site'}`;
    this.#say(at, 'over', { id: null, service: 'worker' }, `${seen.worker.slice(0, 15)} has come: ${does}`);
  }

  surroundings(providers, queues, at) {
    for (const provider of providers) {
      const before = this.#providers.get(provider.id);
      this.#providers.set(provider.id, provider.reachable);
      if (before === undefined || before === provider.reachable) continue;
      const told = provider.reachable
        ? 'is reachable again'
        : `cannot be reached: ${provider.failure?.message ?? 'no reason told'}`;
      this.#say(at, provider.reachable ? 'good' : 'bad', { id: null, service: provider.id }, told);
    }
    const dead = queues.find((queue) => queue.name.endsWith('.dead'))?.ready ?? 0;
    if (this.#dead !== null && dead > this.#dead) {
      this.#say(
        at,
        'bad',
        { id: null, service: 'dead letters' },
        `${plural(dead - this.#dead, 'message')} more that nobody understood`,
      );
    }
    this.#dead = dead;
  }

  #steps(before, status, about, when) {
    const known = new Map((before?.steps ?? []).map((step) => [words.stepName(step.id), step.state]));
    for (const step of status.steps ?? []) {
      const name = words.stepName(step.id);
      if (step.state === 'waiting' || known.get(name) === step.state) continue;
      const told = words.stepState(step.state);
      const after = ['done', 'undone'].includes(step.state) ? ` after ${duration(step.seconds)}` : '';
      const why = ['retrying', 'failed'].includes(step.state) && step.failure ? `: ${step.failure.message}` : '';
      this.#say(when, step.state === 'running' ? 'over' : told.tone, about, `${name}: ${told.says}${after}${why}`);
    }
  }

  #conditions(before, status, about, when) {
    const codes = (one) => new Set(words.conditions(one).map((condition) => condition.code));
    const known = before ? codes(before) : new Set();
    const now = codes(status);
    for (const { code, text } of words.conditions(status)) {
      if (!known.has(code)) this.#say(when, 'ask', about, [code.replaceAll('_', ' '), text].filter(Boolean).join(': '));
    }
    for (const code of known)
      if (!now.has(code)) this.#say(when, 'over', about, `no longer ${code.replaceAll('_', ' ')}`);
  }

  #say(at, tone, about, text, weighty = false) {
    this.#number += 1;
    const line = { number: this.#number, at, tone, about, text, weighty };
    // Nearly always the first place; what a first answer tells of the past goes where it belongs.
    const place = this.lines.findIndex((other) => (other.at ?? 0) <= (at ?? 0));
    this.lines.splice(place < 0 ? this.lines.length : place, 0, line);
    if (this.lines.length > LINES_MAX) this.lines.length = LINES_MAX;
  }
}
