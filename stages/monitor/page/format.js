// Numbers, sizes and times in words, as on the terminal.

const DIGITS = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** `1,234,567`; whole numbers only. */
export const count = (n) => DIGITS.format(Math.trunc(n));

/** `3 objects`. */
export const several = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

/** `12k`, for axes. */
export function short(n) {
  for (const [unit, letter] of [
    [1e12, 'T'],
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ]) {
    if (Math.abs(n) >= unit) return `${Number((n / unit).toPrecision(3))}${letter}`;
  }
  return String(Number(n.toFixed(2)));
}

/** A rate: one digit after the point while it is small. */
export const rate = (n) => (n > 0 && n < 10 ? n.toFixed(1) : count(n));

/** `1.50 MiB`. */
export function bytes(n) {
  let unit = 0;
  for (; n >= 1024 && unit < BINARY.length - 1; unit += 1) n /= 1024;
  return unit === 0 ? `${count(n)} B` : `${n.toFixed(2)} ${BINARY[unit]}`;
}

/** Of seconds: `1.9 s`, `42 s`, `3m 12s`, `2h 5m`, `4d 3h`. */
export function duration(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  const two = (large, a, small, b) => (small ? `${large}${a} ${small}${b}` : `${large}${a}`);
  if (s < 3600) return two(Math.floor(s / 60), 'm', s % 60, 's');
  if (s < 86400) return two(Math.floor(s / 3600), 'h', Math.floor(s / 60) % 60, 'm');
  return two(Math.floor(s / 86400), 'd', Math.floor(s / 3600) % 24, 'h');
}

/** Of milliseconds: `41.3 ms`, `1.9 s`. */
export const ms = (n) => (n < 999.5 ? `${n < 99.95 ? n.toFixed(1) : n.toFixed(0)} ms` : duration(n / 1000));

/** `93 %`. */
export const percent = (part) => `${Math.round(part * 100)} %`;

/** A measure of a stage; its name says the unit. */
export function measure(name, value) {
  if (/bytes/.test(name)) return bytes(value);
  if (/seconds/.test(name) && !/_total$/.test(name)) return ms(value * 1000);
  return Number.isInteger(value) || Math.abs(value) >= 1000 ? count(value) : String(Number(value.toPrecision(4)));
}

const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});
const SHORT = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const DAY = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });

/** Local time; with the day if it is not today's. */
export function moment(at) {
  const date = new Date(at);
  const clock = CLOCK.format(date);
  return date.toDateString() === new Date().toDateString() ? clock : `${DAY.format(date)}, ${clock}`;
}

/** Local hour and minute. */
export const minute = (at) => SHORT.format(new Date(at));

/** Where a stage is, in words. */
export function place(stage) {
  if (stage.condition === 'failed') return 'failed';
  if (stage.frontier == null) return 'done';
  if (stage.lag.epochs === 0) return 'up to date';
  if (stage.lag.epochs === 1) return `epoch ${count(stage.frontier)}`;
  return `${count(stage.lag.epochs)} epochs behind`;
}
