// Owns: numbers and times for people, in the words of the command line. Everything here is pure.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function bytes(count) {
  if (!Number.isFinite(count)) return 'unknown';
  let unit = 0;
  let value = count;
  while (value >= 1024 && unit + 1 < UNITS.length) {
    value /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(value >= 100 ? 0 : 1)} ${UNITS[unit]}`;
}

/** Always MiB/s, so that rates of different disks are compared at a glance. */
export function rate(bytesPerSecond) {
  if (!Number.isFinite(bytesPerSecond)) return 'unknown';
  const value = bytesPerSecond / 2 ** 20;
  return `${value.toFixed(value >= 100 ? 0 : 1)} MiB/s`;
}

/** Such as `2 min 59 s`; tenths only below ten seconds. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return 'unknown';
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  if (whole < 86400)
    return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, '0')} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** How long ago, without tenths that would flicker. */
export function ago(seconds) {
  if (!(seconds >= 5)) return 'just now';
  return `${seconds < 60 ? `${Math.floor(seconds)} s` : duration(seconds)} ago`;
}

export function percent(part, whole) {
  if (!(whole > 0)) return 0;
  return Math.min(100, Math.floor((part / whole) * 100));
}

/** `14:03:22`, local time, as on the operator's own clock. */
export function clock(milliseconds) {
  const date = new Date(milliseconds);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':');
}

/** The time of day, and the day if it is not today. */
export function moment(milliseconds, now) {
  const date = new Date(milliseconds);
  if (date.toDateString() === new Date(now).toDateString()) return clock(milliseconds);
  const day = `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, '0')}-${String(date.getDate()).padStart(2, '0')}`;
  return `${day} ${clock(milliseconds)}`;
}

export function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

/** The first part of a long id, enough to tell it from others. */
export function short(id) {
  return String(id).slice(0, 8);
}
