// Numbers over the last ten minutes, as small charts with their extremes in words.

import { $, el, say, set, svg } from './dom.js';
import { count, duration, minute, moment, rate, short } from './format.js';

/** Points that are kept, and the time that is shown: ten minutes. */
const POINTS = 600;
const SPAN = 600000;
/** So long without a point is a hole and not a line. */
const HOLE = 5000;
const HEIGHT = 180;
const LEFT = 46;
/** Above the picture there is room for what is said of the point under the pointer. */
const [RIGHT, TOP, BOTTOM] = [10, 22, 24];

const CHARTS = [
  {
    name: 'throughput',
    title: 'Throughput',
    unit: 'rows per second',
    series: 's0',
    value: (p) => p.rowsPerSecond,
    text: (v) => rate(v),
  },
  { name: 'lag', title: 'Lag', unit: 'seconds', series: 's1', value: (p) => p.lagSeconds, text: (v) => duration(v) },
  { name: 'backlog', title: 'Backlog', unit: 'objects', series: 's2', value: (p) => p.backlog, text: (v) => count(v) },
];

let points = [];
let charts = null;

/** Starts over with an answer of `api/series`. */
export function setSeries(series) {
  points = series.map((p) => ({ ...p, at: Date.parse(p.at) }));
  draw();
}

/** Adds the moment of a `Status`. */
export function addPoint(status) {
  const at = Date.parse(status.now);
  const last = points.at(-1);
  if (last && at <= last.at) return;
  points.push({
    at,
    rowsPerSecond: status.rowsPerSecond,
    lagSeconds: status.epochs.lagSeconds,
    backlog: status.backlog.objects,
  });
  if (points.length > POINTS) points.shift();
  draw();
}

function draw() {
  if (!charts) {
    charts = CHARTS.map(build);
    const observer = new ResizeObserver(() => charts.forEach(paint));
    charts.forEach((chart) => observer.observe(chart.picture.parentElement));
  }
  charts.forEach(paint);
}

function build(spec) {
  const parts = {
    grid: svg('g'),
    area: svg('path', { class: `area ${spec.series}` }),
    line: svg('path', { class: `line ${spec.series}` }),
    cross: svg('g', { class: 'cross' }),
  };
  const picture = svg('svg', { role: 'img', height: HEIGHT }, ...Object.values(parts));
  const words = el('p', { class: 'meta' });
  const card = el(
    'figure',
    { class: 'card chart', id: `chart-${spec.name}` },
    el('figcaption', {}, el('h2', {}, spec.title, el('small', {}, ` ${spec.unit}`)), words),
    el('div', { class: 'picture' }, picture),
  );
  $('charts').append(card);
  const chart = { ...spec, ...parts, picture, words };
  picture.addEventListener('pointermove', (event) => point(chart, event.offsetX));
  picture.addEventListener('pointerleave', () => point(chart, null));
  return chart;
}

/** The least round number of steps above a value: 1, 2 or 5 times a power of ten. */
function steps(most) {
  const raw = Math.max(most, 1e-9) / 3;
  const power = 10 ** Math.floor(Math.log10(raw));
  const size = [1, 2, 5, 10].find((n) => n * power >= raw) * power;
  return { size, count: Math.max(1, Math.ceil(most / size)) };
}

function paint(chart) {
  const width = chart.picture.parentElement.clientWidth;
  if (!width) return;
  set(chart.picture, 'viewBox', `0 0 ${width} ${HEIGHT}`);
  set(chart.picture, 'width', width);
  const end = points.at(-1)?.at ?? Date.now();
  const values = points.map(chart.value);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const round = steps(values.length ? Math.max(most, 1) : 1);
  const top = round.size * round.count;
  const x = (at) => LEFT + ((at - end + SPAN) / SPAN) * (width - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
  Object.assign(chart, { x, y, width });
  grid(chart, round, end);
  const parts = [];
  points.forEach((p, at) => {
    if (p.at < end - SPAN) return;
    if (!parts.length || p.at - points[at - 1].at > HOLE) parts.push([]);
    parts.at(-1).push(`${x(p.at).toFixed(1)} ${y(chart.value(p)).toFixed(1)}`);
  });
  const base = HEIGHT - BOTTOM;
  set(chart.line, 'd', parts.map((part) => `M${part.join('L')}`).join(''));
  set(
    chart.area,
    'd',
    parts
      .map((part) => `M${part[0].split(' ')[0]} ${base}L${part.join('L')}L${part.at(-1).split(' ')[0]} ${base}Z`)
      .join(''),
  );
  const words = values.length
    ? `now ${chart.text(values.at(-1))}, least ${chart.text(least)}, most ${chart.text(most)}`
    : 'no numbers yet';
  say(chart.words, words);
  set(chart.picture, 'aria-label', `${chart.title} of the last ten minutes, ${chart.unit}: ${words}`);
}

/** Lines at round numbers, and times at full minutes. */
function grid({ grid, x, y, width }, round, end) {
  const items = [];
  for (let n = 0; n <= round.count; n += 1) {
    const level = Math.round(y(n * round.size)) + 0.5;
    items.push(svg('line', { class: n ? 'g' : 'a', x1: LEFT, x2: width - RIGHT, y1: level, y2: level }));
    items.push(svg('text', { x: LEFT - 8, y: level + 4, 'text-anchor': 'end' }, short(n * round.size)));
  }
  const apart = width < 300 ? 300000 : 120000;
  for (let at = Math.ceil((end - SPAN) / apart) * apart; at <= end; at += apart) {
    const place = x(at);
    items.push(svg('line', { class: 'a', x1: place, x2: place, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4 }));
    if (place > LEFT + 12 && place < width - 16)
      items.push(svg('text', { x: place, y: HEIGHT - 6, 'text-anchor': 'middle' }, minute(at)));
  }
  grid.replaceChildren(...items);
}

/** The point under the pointer in words. */
function point(chart, at) {
  chart.cross.replaceChildren();
  if (at == null || !points.length) return;
  const near = points.reduce((best, p) => (Math.abs(chart.x(p.at) - at) < Math.abs(chart.x(best.at) - at) ? p : best));
  const [x, y] = [chart.x(near.at), chart.y(chart.value(near))];
  const left = x > chart.width / 2;
  const text = `${moment(near.at)}, ${chart.text(chart.value(near))}`;
  chart.cross.append(
    svg('line', { x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }),
    svg('circle', { cx: x, cy: y, r: 3.5, class: chart.series }),
    svg('text', { x: left ? x - 8 : x + 8, y: TOP - 9, 'text-anchor': left ? 'end' : 'start' }, text),
  );
}
