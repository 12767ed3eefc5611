// The graph: boxes that open a stage's details, edges as thick as rows flow.

import { $, el, icon, say, set, svg, sync, turn } from './dom.js';
import { count, place, percent, rate, several, short } from './format.js';

/** Rows per second from which an edge is drawn in the next width. */
const WIDTHS = [1, 100, 3000, 100000];
/** Of an overview: smaller than that nobody reads a name. */
const SMALLEST = 0.4;
/** Around the picture, in its box. */
const AROUND = 20;
const CONDITIONS = ['failed', 'stalled', 'running', 'idle', 'finished'];
const WORDS = { idle: 'up to date', finished: 'done' };
const STROKES = {
  rows: ['edge w2', 'M1 8h22'],
  rejects: ['edge w1 rejects', 'M1 8h22'],
  exchange: ['exchange', 'M7 8l5 -5l5 5l-5 5z'],
};
const LEGEND = {
  running: 'running',
  idle: 'up to date',
  finished: 'done',
  stalled: 'stalled: waits for something',
  failed: 'failed',
  rows: 'the thicker, the more rows per second',
  rejects: 'rejected rows',
  exchange: 'exchanged between workers, by key',
};

let layout = null;
let canvas = null;
let nodes = new Map();
let edges = [];
let trouble = new Set();
let overview = false;

/** Draws an answer of `api/graph`; `open(stage, box)` is called when a stage is chosen. */
export function drawGraph(answer, open) {
  layout = answer;
  [nodes, edges, trouble] = [new Map(), [], new Set()];
  const lines = svg('svg', { width: layout.width, height: layout.height, 'aria-hidden': 'true' });
  for (const edge of layout.edges) {
    const path = svg('path', { d: way(edge.points), 'data-from': edge.from, 'data-to': edge.to });
    lines.append(path);
    if (edge.exchange) {
      const [[x, y], [to, below]] = edge.points;
      lines.append(svg('path', { class: 'exchange', d: `M${(x + to) / 2 - 5} ${(y + below) / 2}l5 -5l5 5l-5 5z` }));
    }
    edges.push([edge, path]);
  }
  canvas = el('div', { class: 'canvas' }, el('div', { class: 'scaled' }, lines));
  for (const spot of layout.nodes) {
    const box = node(spot.stage, open);
    box.style.left = `${spot.x}px`;
    box.style.top = `${spot.y}px`;
    box.style.width = `${spot.width}px`;
    box.style.height = `${spot.height}px`;
    nodes.set(spot.stage, box);
    canvas.firstChild.append(box);
  }
  $('graph').replaceChildren(canvas);
  $('graph').onkeydown = (event) => move(event);
  $('overview').onclick = () => {
    overview = !overview;
    fit();
  };
  new ResizeObserver(fit).observe($('graph'));
}

/** From point to point: level where boxes are, a curve between them. */
function way(points) {
  const [first, ...rest] = points;
  let [x, y] = first;
  let out = `M${x} ${y}`;
  for (const [to, below] of rest) {
    const middle = (x + to) / 2;
    out += below === y ? `H${to}` : `C${middle} ${y} ${middle} ${below} ${to} ${below}`;
    [x, y] = [to, below];
  }
  return out;
}

function node(name, open) {
  const id = `node-${nodes.size}`;
  const box = el(
    'button',
    {
      type: 'button',
      class: 'node',
      'data-stage': name,
      'aria-haspopup': 'dialog',
      'aria-expanded': 'false',
      'aria-labelledby': `${id}-name ${id}-kind`,
      'aria-describedby': `${id}-place ${id}-numbers`,
    },
    el(
      'span',
      { class: 'line' },
      icon('idle'),
      el('b', { id: `${id}-name` }, ...name.split(/(?<=[_.-])/).flatMap((part) => [part, el('wbr')])),
    ),
    el('span', { class: 'line' }, el('i', { id: `${id}-kind` }), el('span', { class: 'rate' })),
    el('span', { class: 'line', id: `${id}-numbers` }, el('span', { class: 'rows-out' }), el('i', { title: 'busy' })),
    el('span', { class: 'line place', id: `${id}-place` }),
    el('span', { class: 'busy' }, el('span')),
  );
  box.addEventListener('click', () => open(name, box));
  return box;
}

/** Shows the stages of a `Status`. */
export function showGraph(status) {
  if (!layout) return;
  const by = new Map(status.stages.map((stage) => [stage.name, stage]));
  for (const [name, box] of nodes) {
    const stage = by.get(name);
    if (stage) showNode(box, stage);
  }
  for (const [edge, path] of edges) {
    const flow = edge.rejects ? 0 : (by.get(edge.from)?.rowsPerSecond ?? 0);
    const width = WIDTHS.filter((least) => flow >= least).length;
    set(path, 'class', `edge w${width}${edge.rejects ? ' rejects' : ''}`);
  }
  showSummary(status);
}

function showNode(box, stage) {
  const [first, second, third, fourth, busy] = box.children;
  set(box, 'data-condition', stage.condition);
  set(box, 'data-role', stage.role);
  turn(first.firstChild, stage.condition);
  say(second.firstChild, stage.kind);
  say(
    second.lastChild,
    `${stage.rowsPerSecond < 1e4 ? rate(stage.rowsPerSecond) : short(Math.round(stage.rowsPerSecond))}/s`,
  );
  say(third.firstChild, stage.rows < 1e9 ? count(stage.rows) : short(stage.rows));
  say(third.lastChild, percent(stage.busy));
  say(fourth, stage.condition === 'stalled' ? 'stalled' : place(stage));
  busy.firstChild.style.width = `${Math.min(100, stage.busy * 100)}%`;
  set(busy, 'data-full', stage.busy > 0.9);
  const lines = [
    `${stage.name} (${stage.kind})`,
    stage.description,
    stage.cause && `stalled: ${stage.cause}`,
    `${several(stage.rows, 'row')}, ${percent(stage.busy)} busy`,
  ];
  set(box, 'title', lines.filter(Boolean).join('\n'));
  const bad = stage.condition === 'stalled' || stage.condition === 'failed';
  if (bad && !trouble.has(stage.name) && !$('graph').matches(':hover, :focus-within')) {
    const spot = layout.nodes.find((n) => n.stage === stage.name);
    const room = $('graph');
    room.scrollTo(spot.x + spot.width / 2 - room.clientWidth / 2, spot.y + spot.height / 2 - room.clientHeight / 2);
  }
  if (bad) trouble.add(stage.name);
  else trouble.delete(stage.name);
}

function showSummary(status) {
  const of = (condition) => status.stages.filter((stage) => stage.condition === condition).length;
  const found = CONDITIONS.filter(of);
  const words = found.map((condition) => `${count(of(condition))} ${WORDS[condition] ?? condition}`);
  say($('stages-summary'), `${several(status.stages.length, 'stage')}: ${words.join(', ')}`);
  const lines = ['rows', 'rejects', 'exchange'].filter((n) => n === 'rows' || layout.edges.some((edge) => edge[n]));
  const item = (name) => el('li', { 'data-condition': name }, sign(name), LEGEND[name]);
  sync(
    $('legend'),
    [...found, ...lines],
    (name) => name,
    item,
    () => {},
  );
}

/** What stands for a condition or a kind of edge in the legend. */
function sign(name) {
  if (!STROKES[name]) return icon(name);
  const [shape, d] = STROKES[name];
  return svg('svg', { class: 'stroke', viewBox: '0 0 24 16', 'aria-hidden': 'true' }, svg('path', { class: shape, d }));
}

/** In an overview everything is in the box, as far as it can be read. */
function fit() {
  if (!canvas) return;
  const [wide, high] = [$('graph').clientWidth - AROUND, parseFloat(getComputedStyle($('graph')).maxHeight) - AROUND];
  const whole = Math.min(1, wide / layout.width, high / layout.height);
  const scale = overview ? Math.max(SMALLEST, whole) : 1;
  $('overview').hidden = whole === 1 && !overview;
  set($('overview'), 'aria-pressed', String(overview));
  set($('graph'), 'data-far', scale < 0.8);
  canvas.style.width = `${layout.width * scale}px`;
  canvas.style.height = `${layout.height * scale}px`;
  canvas.style.setProperty('--scale', scale);
}

/** Arrow keys: the nearest box in that direction. */
function move(event) {
  const directions = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
  const direction = directions[event.key];
  const here = layout.nodes.find((n) => n.stage === event.target.dataset.stage);
  if (!direction || !here) return;
  const [right, down] = direction;
  const distance = (n) => {
    const [dx, dy] = [n.x - here.x, n.y - here.y];
    const along = dx * right + dy * down;
    const aside = Math.abs(dx * down) + Math.abs(dy * right);
    return along <= 0 || (down && aside) ? Infinity : along + 2 * aside;
  };
  const nearest = layout.nodes.reduce((best, n) => (distance(n) < distance(best) ? n : best), here);
  event.preventDefault();
  if (nearest !== here) nodes.get(nearest.stage).focus();
}

/** Marks the box whose details are open; `null`: none. */
export function mark(stage) {
  for (const [name, box] of nodes) set(box, 'aria-expanded', String(name === stage));
}
