// Owns: what this page knows, from the status document and from notices. Of two statuses of a relocation the one with
// the higher revision is kept. Bounded; refuses to talk to the server and to draw.

import { Feed } from './feed.js';
import { History } from './history.js';

export class Store {
  relocations = new Map();
  workers = new Map();
  providers = [];
  queues = [];
  version = '';
  /** When the whole document was last received; 0 before the first. */
  receivedAt = 0;
  /** When anything was last heard. */
  heardAt = 0;
  /** What the server's clock is ahead of ours, in milliseconds. */
  clockAhead = 0;
  history = new History();
  feed = new Feed();
  #listeners = new Set();

  onChange(listener) {
    this.#listeners.add(listener);
  }

  changed() {
    for (const listener of this.#listeners) listener();
  }

  /** The server's time now, by its own clock. */
  now() {
    return Date.now() + this.clockAhead;
  }

  relocation(id) {
    return this.relocations.get(id)?.status;
  }

  statuses() {
    return [...this.relocations.values()].map((known) => known.status);
  }

  /** A full answer that was asked for at `askedAt`: what it does not have is gone, unless it was heard of since. */
  document(document, askedAt) {
    const first = this.receivedAt === 0;
    this.receivedAt = Date.now();
    this.heardAt = this.receivedAt;
    this.version = document.version ?? '';
    this.providers = document.providers ?? [];
    this.queues = document.queues ?? [];
    const told = new Set();
    for (const status of document.relocations ?? []) {
      told.add(status.id);
      this.#relocation(status, first);
    }
    for (const [id, known] of this.relocations) {
      if (!told.has(id) && known.heardAt < askedAt) this.relocations.delete(id);
    }
    this.workers = new Map(
      (document.workers ?? []).map((worker) => [
        worker.worker,
        { ...worker, heardAt: Date.now() - worker.seconds_since_seen * 1000 },
      ]),
    );
    this.feed.surroundings(this.providers, this.queues, this.now());
    this.changed();
  }

  notice(notice) {
    if (notice.notice === 'relocation_changed') this.#relocation(notice.status, false);
    else if (notice.notice === 'request_refused') this.feed.refused(notice.id, notice.failure, this.now());
    else if (notice.notice === 'worker_seen') this.#worker(notice);
    else return;
    this.heardAt = Date.now();
    this.changed();
  }

  /** A notice from before this page was opened: only for the feed. */
  earlier(notice) {
    if (notice.notice === 'relocation_changed') this.feed.relocation(notice.status, null);
    if (notice.notice === 'request_refused') this.feed.refused(notice.id, notice.failure, null);
  }

  #relocation(status, first) {
    const known = this.relocations.get(status.id);
    if (known && known.status.revision > status.revision) return;
    const newer = !known || status.revision > known.status.revision;
    // The same revision may still say more: the broker adds to it, such as a key that was taken meanwhile.
    const movedAt = newer ? Date.now() : known.movedAt;
    this.relocations.set(status.id, { status, movedAt, heardAt: Date.now(), sinceOpened: Boolean(known) });
    if (!newer) return;
    this.feed.relocation(status, first ? null : this.now());
    this.history.add(status, Date.now());
  }

  #worker(notice) {
    const { notice: _, ...seen } = notice;
    const before = this.workers.get(seen.worker);
    if (!before) this.feed.worker(seen, this.now());
    this.workers.set(seen.worker, { ...before, ...seen, heardAt: Date.now() });
  }

  /**
   * How long a step has taken. A step that runs is told only when something changes, so time goes on here: since the
   * last change of the log where nothing reports progress, else since it was heard.
   */
  stepSeconds(status, step, frozenAt) {
    if (step.state !== 'running' && step.state !== 'undoing') return step.seconds;
    const known = this.relocations.get(status.id);
    const reports = (status.transfers ?? []).some((transfer) => transfer.state === 'running');
    const toldAt =
      reports || known.sinceOpened
        ? known.movedAt
        : Math.min(known.movedAt, Date.parse(status.changed_at) - this.clockAhead);
    return step.seconds + Math.max(0, ((frozenAt ?? Date.now()) - toldAt) / 1000);
  }

  /** Seconds since this page last heard something new of this relocation. */
  silentFor(status) {
    const known = this.relocations.get(status.id);
    return known ? Math.max(0, (Date.now() - known.movedAt) / 1000) : 0;
  }
}
