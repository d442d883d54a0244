// Owns: the last minutes of every transfer that runs, as samples for the charts: the data read per second, as told, and
// what went over the wire, from the growth between two samples. Bounded in time and in number.

import { diskName } from './words.js';

export const KEPT_SECONDS = 600;
const SAMPLES_MAX = 1200;
/** Two samples closer than this are one; further apart than GAP, nothing is known between them. */
const CLOSE_MS = 900;
export const GAP_MS = 15_000;

export class History {
  #series = new Map();

  add(status, at) {
    for (const transfer of status.transfers ?? []) {
      const key = `${status.id} ${diskName(transfer.disk)}`;
      const series = this.#series.get(key) ?? [];
      const last = series.at(-1);
      const runs = transfer.state === 'running';
      // What does not run is remembered only as the end of what did.
      if (!runs && !last?.runs) continue;
      if (last && at - last.at < CLOSE_MS && runs) continue;
      series.push(sample(transfer.progress, last, at, runs));
      while (series.length > SAMPLES_MAX || (series.length && at - series[0].at > KEPT_SECONDS * 1000)) series.shift();
      this.#series.set(key, series);
    }
  }

  of(status, disk) {
    return this.#series.get(`${status.id} ${diskName(disk)}`) ?? [];
  }
}

function sample(progress, last, at, runs) {
  const sent = progress.bytes_on_wire;
  const known = last && at - last.at <= GAP_MS && sent >= last.sent;
  return {
    at,
    runs,
    sent,
    read: runs ? progress.rate_bytes_per_sec : 0,
    wire: known ? ((sent - last.sent) * 1000) / (at - last.at) : null,
  };
}

/** Now, highest and mean of a field over the samples that know it. */
export function summary(samples, field) {
  const known = samples.map((one) => one[field]).filter((value) => value !== null);
  if (known.length === 0) return null;
  return {
    now: known.at(-1),
    highest: Math.max(...known),
    mean: known.reduce((sum, value) => sum + value, 0) / known.length,
  };
}
