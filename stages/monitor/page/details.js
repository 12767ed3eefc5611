// All about one stage, beside the page: its numbers, workers, measures and rows that pass.

import { $, el, icon, say, set, sync, turn } from './dom.js';
import { bytes, count, duration, ms, percent, place, rate, several } from './format.js';
import { mark } from './graph.js';
import { MEASURE, Table, sample } from './tables.js';

const WORKERS = [
  { title: 'Worker', head: true, number: true, text: (w) => String(w.worker) },
  { title: 'Process', number: true, text: (w) => String(w.process) },
  { title: 'Frontier', number: true, text: (w) => (w.frontier == null ? 'done' : count(w.frontier)) },
  { title: 'Rows in', number: true, text: (w) => count(w.rowsIn) },
  { title: 'Rows out', number: true, text: (w) => count(w.rows) },
  { title: 'At work', number: true, text: (w) => duration(w.busySeconds) },
];

/** What is told, where there is something to tell. */
const FACTS = [
  ['Where it is', (s) => place(s)],
  [
    'Lag',
    (s) =>
      s.lag.epochs
        ? `${several(s.lag.epochs, 'epoch')}, ${duration(s.lag.seconds)}, ${several(s.lag.rows, 'row')} of sources`
        : 'none',
  ],
  ['Rows in', (s) => (s.role === 'source' ? null : count(s.rowsIn))],
  ['Rows out', (s) => `${count(s.rows)}, ${rate(s.rowsPerSecond)} per second`],
  ['Bytes in memory', (s) => `${bytes(s.bytes)}, ${bytes(s.bytesPerSecond)} per second`],
  ['Rows rejected', (s) => (s.rejects ? count(s.rejects) : null)],
  ['Busy', (s) => `${percent(s.busy)} of all workers' time`],
  [
    'Waiting for it',
    (s) => (s.queueRows || s.queueBytes ? `${several(s.queueRows, 'row')}, ${bytes(s.queueBytes)}` : 'nothing'),
  ],
  [
    'Keeps',
    (s) =>
      s.keeps &&
      `${several(s.keeps.rows, 'row')} of state in ${several(s.keeps.files, 'file')}, ${bytes(s.keeps.bytes)}`,
  ],
  [
    'Backlog',
    (s) =>
      s.backlog &&
      (s.backlog.objects
        ? `${several(s.backlog.objects, 'object')}, ${bytes(s.backlog.bytes)}${s.backlog.oldestSeconds == null ? '' : `, the oldest ${duration(s.backlog.oldestSeconds)} old`}`
        : 'nothing is outstanding'),
  ],
  ['Table', (s, t) => t?.url],
  [
    'Version',
    (s, t) => t && (t.version == null ? 'not written yet' : `${count(t.version)}, of epoch ${count(t.epoch)}`),
  ],
  ['Written by this run', (s, t) => t && `${several(t.rows, 'row')}, ${several(t.files, 'file')}, ${bytes(t.bytes)}`],
  ['Newest commit', (s, t) => t?.version != null && `${ms(t.commitMs)}, ${several(t.conflicts, 'conflict')}`],
];

let shown = null;
let box = null;
let parts = null;
let tap = null;

/** Wires the drawer; `tapRows(stage, rejects)` resolves to an answer of `api/tap`. */
export function wireDetails(tapRows) {
  tap = tapRows;
  $('details-close').addEventListener('click', close);
  $('details').addEventListener('keydown', (event) => event.key === 'Escape' && close());
}

/** Opens the details of a stage; focus comes back to `from` when they are closed. */
export function openDetails(name, from, status) {
  const stage = status?.stages.find((s) => s.name === name);
  if (!stage) return;
  [shown, box] = [name, from ?? box];
  build(stage, status);
  if (!$('details').open) $('details').show();
  document.body.classList.add('aside');
  showDetails(status);
  mark(name);
  $('details').scrollTop = 0;
  $('details-title').focus();
}

function close() {
  $('details').close();
  document.body.classList.remove('aside');
  shown = null;
  mark(null);
  box?.focus();
}

function build(stage, status) {
  say($('details-title'), stage.name);
  const condition = el('p', { class: 'condition' }, icon(stage.condition), el('span'));
  const facts = el('dl', { class: 'facts' });
  const rejected = status.stages.some((s) => s.inputs.some((i) => i.from === stage.name && i.rejects));
  const rows = el('div', { 'aria-live': 'polite' });
  const look = (rejects, text) =>
    el('button', { type: 'button', onclick: (event) => show(event.target, stage.name, rejects, rows) }, text);
  const buttons = el(
    'div',
    { class: 'buttons' },
    look(false, 'Sample rows'),
    rejected ? look(true, 'Sample rejected rows') : null,
  );
  const workers = new Table(`${stage.name} by worker`, WORKERS, (w) => w.worker);
  const measures = new Table(`What ${stage.name} measures`, MEASURE, (m) => m.name);
  const measured = el('section', {}, el('h3', {}, 'Measures'), measures.box);
  const others = status.stages.filter((s) => s.inputs.some((i) => i.from === stage.name));
  const link = (name, text) =>
    el(
      'button',
      {
        type: 'button',
        class: 'link',
        onclick: () => openDetails(name, document.querySelector(`[data-stage="${CSS.escape(name)}"]`), current),
      },
      text,
    );
  const note = (edge) => `${edge.rejects ? ' (rejected rows)' : ''}${edge.exchange ? ' (exchanged by key)' : ''}`;
  const inputs = stage.inputs.map((i) => el('li', {}, 'from ', link(i.from, i.from), note(i)));
  const outputs = others.flatMap((s) =>
    s.inputs.filter((i) => i.from === stage.name).map((i) => el('li', {}, 'to ', link(s.name, s.name), note(i))),
  );
  $('details-body').replaceChildren(
    el('p', { class: 'meta' }, `${stage.kind}, ${stage.role}`),
    stage.description ? el('p', {}, stage.description) : '',
    condition,
    facts,
    el('h3', {}, 'Edges'),
    el('ul', { class: 'edges' }, ...inputs, ...outputs),
    measured,
    el('h3', {}, 'Workers'),
    workers.box,
    el('h3', {}, 'Rows that pass now'),
    buttons,
    rows,
  );
  parts = { condition, facts, workers, measures, measured };
}

let current = null;

/** Shows the numbers of a `Status`, if details are open. */
export function showDetails(status) {
  current = status;
  const stage = status.stages.find((s) => s.name === shown);
  // Another plan may not have it any more.
  if (shown && !stage) close();
  if (!stage || !parts) return;
  const words = { idle: 'up to date', finished: 'done' };
  const cause = stage.condition === 'failed' ? status.fault?.message : stage.cause;
  set(parts.condition, 'data-condition', stage.condition);
  turn(parts.condition.firstChild, stage.condition);
  say(parts.condition.lastChild, `${words[stage.condition] ?? stage.condition}${cause ? `: ${cause}` : ''}`);
  const table = status.tables.find((t) => t.stage === stage.name);
  const facts = FACTS.map(([name, text]) => [name, text(stage, table)]).filter(([, text]) => text);
  sync(
    parts.facts,
    facts,
    ([name]) => name,
    ([name]) => el('div', {}, el('dt', {}, name), el('dd')),
    (line, [, text]) => say(line.lastChild, text),
  );
  parts.workers.show(stage.workers);
  parts.measured.hidden = stage.metrics.length === 0;
  parts.measures.show(stage.metrics);
}

async function show(button, stage, rejects, into) {
  button.disabled = true;
  into.replaceChildren(el('p', { class: 'meta' }, 'Waiting for rows, 10 s at most …'));
  try {
    const answer = await tap(stage, rejects);
    const what = rejects ? 'rejected rows' : 'rows';
    const nothing = `No ${what} of ${stage} passed within 10 s.`;
    into.replaceChildren(
      answer
        ? sample(`${several(answer.rows.length, 'row')} of epoch ${count(answer.epoch)}`, answer.columns, answer.rows)
        : el('p', { class: 'meta' }, nothing),
    );
  } catch (error) {
    into.replaceChildren(el('p', { class: 'problem' }, error.message));
  }
  button.disabled = false;
  if (document.activeElement === document.body) button.focus();
}
