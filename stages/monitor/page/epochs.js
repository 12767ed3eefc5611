// Complete epochs, the newest first; each can be opened for all that is known of it.

import { $, el, say, set, sync } from './dom.js';
import { bytes, count, moment, ms, rate, several } from './format.js';
import { Table } from './tables.js';

/** Epochs that are kept, and those that are shown before a person asks for all. */
const KEPT = 100;
const FIRST = 10;

/** What stands in the table before the first epoch: caption and head. */
const HEAD = 2;
/** The parts of an epoch's time. */
const PARTS = [
  ['binding', 'walCommit'],
  ['processing', 'addBatch'],
  ['commit', 'commitOffsets'],
];

let epochs = [];
let all = false;
let table = null;
/** What is shown while an epoch is open for reading: rows do not move under a person's eyes. */
let held = null;

/** Starts over with an answer of `api/epochs`. */
export function setEpochs(answer) {
  epochs = answer.toReversed();
  show();
}

/** Adds one that has become complete. */
export function addEpoch(epoch) {
  epochs = [epoch, ...epochs.filter((e) => e.batchId !== epoch.batchId)]
    .sort((a, b) => b.batchId - a.batchId)
    .slice(0, KEPT);
  show();
}

const objects = (e) => e.sources.reduce((sum, s) => sum + s.numInputObjects, 0);
const volume = (e) => e.sources.reduce((sum, s) => sum + s.numInputBytes, 0);

/** Columns that every epoch has, then one for each table; sources have theirs if they are several. */
function columns(newest) {
  const of = (list, name) => list.find((x) => x.description === name);
  const sources =
    newest.sources.length > 1
      ? newest.sources.map((s) => ({
          title: s.description,
          sub: 'rows in',
          text: (e) => cell(of(e.sources, s.description)?.numInputRows),
        }))
      : [];
  const sinks = newest.sinks.map((s) => ({
    title: s.description,
    sub: 'rows, version',
    text: (e) => cell(of(e.sinks, s.description)?.numOutputRows),
    under: (e) => version(of(e.sinks, s.description)),
  }));
  return [
    { title: 'Complete', text: (e) => moment(e.finished), hint: (e) => `bound ${e.timestamp}, complete ${e.finished}` },
    { title: 'Objects', number: true, text: (e) => count(objects(e)), under: (e) => bytes(volume(e)) },
    {
      title: 'Rows in',
      number: true,
      text: (e) => count(e.numInputRows),
      under: (e) => `${rate(e.processedRowsPerSecond)}/s`,
    },
    { title: 'Duration', time: true, text: (e) => ms(e.batchDuration), hint: split },
    ...[...sources, ...sinks].map((c) => ({ ...c, number: true })),
  ];
}

const cell = (n) => (n == null ? '–' : count(n));
const version = (sink) => (sink ? `v${count(sink.version)}` : '');
const split = (e) => PARTS.map(([name, key]) => `${name} ${ms(e.durationMs[key])}`).join(', ');

function show() {
  const newest = epochs[0];
  say(
    $('epochs-summary'),
    newest
      ? `The newest ${epochs.length === 1 ? 'one that is' : `${count(epochs.length)} that are`} complete`
      : 'None is complete yet',
  );
  const shape = newest
    ? JSON.stringify([newest.sources.map((s) => s.description), newest.sinks.map((s) => s.description)])
    : '';
  if (table?.shape !== shape) build(shape, newest);
  if (!newest) return;
  if (held?.[0].runId !== newest.runId || !table.node.querySelector('.more')) held = null;
  const list = held ?? epochs;
  sync(table.node, list.slice(0, all ? KEPT : FIRST), (e) => `${e.runId} ${e.batchId}`, row, update, HEAD);
  const missing = newest.batchId - list[0].batchId;
  table.newer.hidden = missing <= 0;
  say(table.newer, `Show ${several(missing, 'newer one')}`);
  table.more.hidden = epochs.length <= FIRST;
  say(table.more, all ? `Show the newest ${FIRST}` : `Show all ${count(epochs.length)}`);
}

function build(shape, newest) {
  table?.box.remove();
  table?.more.remove();
  table?.newer.remove();
  table?.legend.remove();
  held = null;
  table = { shape, columns: newest ? columns(newest) : [] };
  const head = table.columns.map((c) =>
    el('th', { scope: 'col', class: c.number && 'n' }, c.title, c.sub && el('small', {}, c.sub)),
  );
  table.node = el(
    'table',
    {},
    el('caption', { class: 'hidden' }, 'Complete epochs, the newest first'),
    el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Epoch'), ...head)),
  );
  // Each epoch is a group of two rows: what is known at a glance, and the rest.
  table.box = el(
    'div',
    { class: 'rows epochs', tabindex: '0', role: 'region', 'aria-label': 'Complete epochs' },
    table.node,
  );
  table.box.hidden = !newest;
  table.legend = el(
    'p',
    { class: 'meta parts', 'aria-hidden': 'true' },
    ...PARTS.map(([name], at) => el('span', { class: `part p${at}` }, name)),
  );
  table.legend.hidden = !newest;
  table.more = el('button', {
    type: 'button',
    class: 'quiet',
    hidden: true,
    onclick: () => {
      all = !all;
      show();
    },
  });
  table.newer = el('button', {
    type: 'button',
    class: 'quiet newer',
    hidden: true,
    onclick: () => {
      held = epochs;
      show();
    },
  });
  $('epochs').firstElementChild.append(table.newer);
  $('epochs').append(table.box, table.legend, table.more);
}

function row(epoch) {
  const id = `epoch-${epoch.batchId}`;
  const button = el('button', { type: 'button', class: 'expand', 'aria-expanded': 'false', 'aria-controls': id });
  const cells = table.columns.map((c) =>
    c.time
      ? el('td', { class: 'time' }, el('span'), bar())
      : el('td', { class: c.number && 'n' }, el('span'), c.under && el('small')),
  );
  const group = el(
    'tbody',
    {},
    el('tr', { 'data-epoch': epoch.batchId }, el('th', { scope: 'row' }, button), ...cells),
  );
  button.append(el('span', {}, count(epoch.batchId)));
  if (epoch.replayed)
    button.after(
      el('span', { class: 'tag', title: 'an earlier run had bound it and did not complete it' }, 'replayed'),
    );
  button.addEventListener('click', () => toggle(group, button, epoch, id));
  return group;
}

const bar = () =>
  el('span', { class: 'bar3', 'aria-hidden': 'true' }, ...PARTS.map((_, at) => el('i', { class: `p${at}` })));

function update(group, epoch) {
  const cells = [...group.firstChild.children].slice(1);
  table.columns.forEach((column, at) => {
    const inside = cells[at];
    say(inside.firstChild, column.text(epoch));
    if (column.hint) set(inside, 'title', column.hint(epoch));
    if (column.under) say(inside.lastChild, column.under(epoch));
    if (column.time) {
      const whole = PARTS.reduce((sum, [, key]) => sum + epoch.durationMs[key], 0) || 1;
      PARTS.forEach(
        ([, key], n) => (inside.lastChild.children[n].style.width = `${(epoch.durationMs[key] / whole) * 100}%`),
      );
    }
  });
}

function toggle(group, button, epoch, id) {
  const opens = group.children.length === 1;
  if (!opens) group.lastChild.remove();
  else {
    held ??= epochs;
    group.append(
      el('tr', { id, class: 'more' }, el('td', { colspan: String(table.columns.length + 1) }, detail(epoch))),
    );
  }
  set(button, 'aria-expanded', String(opens));
  show();
}

/** Everything about an epoch. */
function detail(epoch) {
  const n = (title, text) => ({ title, number: true, text });
  const part = (title, columns, rows, name) => {
    if (!rows.length) return null;
    const list = new Table(title, [{ title, head: true, text: name }, ...columns], name);
    list.show(rows);
    return list.box;
  };
  const flows = part(
    'Stage',
    [
      n('Rows', (s) => count(s.rows)),
      n('Bytes in memory', (s) => bytes(s.bytes)),
      n('Rejected', (s) => count(s.rejects)),
      n('Frontier', (s) => (epoch.frontiers[s.name] == null ? 'done' : count(epoch.frontiers[s.name]))),
    ],
    epoch.stages,
    (s) => s.name,
  );
  const sources = part(
    'Source',
    [
      n('Objects', (s) => count(s.numInputObjects)),
      n('Bytes', (s) => bytes(s.numInputBytes)),
      n('Rows', (s) => count(s.numInputRows)),
    ],
    epoch.sources,
    (s) => s.description,
  );
  const sinks = part(
    'Table',
    [
      n('Version', (s) => count(s.version)),
      n('Rows', (s) => count(s.numOutputRows)),
      n('Files', (s) => count(s.numFiles)),
      n('Bytes', (s) => bytes(s.numBytes)),
      n('Commit', (s) => ms(s.commitMs)),
      n('Conflicts', (s) => count(s.conflicts)),
    ],
    epoch.sinks,
    (s) => s.description,
  );
  const state = part(
    'State of',
    [n('Rows', (s) => count(s.numRowsTotal)), n('Bytes', (s) => bytes(s.bytesTotal))],
    epoch.stateOperators,
    (s) => s.operatorName,
  );
  const words = [
    `Bound ${moment(epoch.timestamp)}, complete ${moment(epoch.finished)}`,
    split(epoch),
    `${several(epoch.numInputRows, 'row')} at ${rate(epoch.processedRowsPerSecond)} per second`,
    epoch.replayed && 'replayed: an earlier run had bound it',
  ];
  return el(
    'div',
    { class: 'detail' },
    el('p', {}, `${words.filter(Boolean).join('; ')}.`),
    el('div', { class: 'lists' }, sinks, flows, sources, state),
  );
}
