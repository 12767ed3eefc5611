// Tables that are kept up to date row by row, and those of the run: tables, measures, quarantine.

import { $, el, say, set, sync } from './dom.js';
import { bytes, count, measure, ms, rate, several } from './format.js';

/**
 * A table in a box that scrolls. A column has `title`, `text(row)`, and may have `number` (it stands right), `head` (it names
 * the row), `hint(row)` (a title).
 */
export class Table {
  constructor(caption, columns, key, hideCaption = true) {
    this.columns = columns;
    this.key = key;
    this.body = el('tbody');
    const head = columns.map((c) => el('th', { scope: 'col', class: c.number && 'n' }, c.title));
    this.box = el(
      'div',
      { class: 'rows', tabindex: '0', role: 'region', 'aria-label': caption },
      el(
        'table',
        {},
        el('caption', { class: hideCaption && 'hidden' }, caption),
        el('thead', {}, el('tr', {}, ...head)),
        this.body,
      ),
    );
  }

  show(rows) {
    sync(
      this.body,
      rows,
      this.key,
      () => this.make(),
      (line, row) => this.update(line, row),
    );
  }

  make() {
    const cell = (c) =>
      c.head ? el('th', { scope: 'row', class: c.number && 'n' }) : el('td', { class: c.number && 'n' });
    return el('tr', {}, ...this.columns.map(cell));
  }

  update(line, row) {
    this.columns.forEach((column, at) => {
      const text = column.text(row);
      say(line.children[at], text == null ? '–' : text);
      if (column.hint) set(line.children[at], 'title', column.hint(row));
    });
  }
}

const TABLES = [
  { title: 'Table', head: true, text: (t) => t.stage },
  { title: 'Place', text: (t) => t.url },
  { title: 'Version', number: true, text: (t) => (t.version == null ? null : count(t.version)) },
  { title: 'Epoch', number: true, text: (t) => (t.epoch ? count(t.epoch) : null) },
  { title: 'Rows', number: true, text: (t) => count(t.rows) },
  { title: 'Files', number: true, text: (t) => count(t.files) },
  { title: 'Bytes', number: true, text: (t) => bytes(t.bytes), hint: (t) => `${count(t.bytes)} bytes` },
  { title: 'Commit', number: true, text: (t) => (t.version == null ? null : ms(t.commitMs)) },
  { title: 'Conflicts', number: true, text: (t) => count(t.conflicts) },
];

const MEASURES = [
  { title: 'Stage', head: true, text: (m) => m.stage },
  { title: 'Measure', text: (m) => m.name },
  { title: 'Value', number: true, text: (m) => measure(m.name, m.value) },
  { title: 'Per second', number: true, text: (m) => (m.perSecond == null ? null : rate(m.perSecond)) },
];

/** Columns of what a stage measures itself, without the stage. */
export const MEASURE = MEASURES.slice(1).map((column, at) => ({ ...column, head: at === 0 }));

let tables;
let measures;

/** Tables and measures of a `Status`. */
export function showTables(status) {
  if (!tables) {
    tables = new Table('Tables that the run writes', TABLES, (t) => t.stage);
    measures = new Table('What stages measure', MEASURES, (m) => `${m.stage} ${m.name}`);
    for (const [place, { box }] of [
      ['tables', tables],
      ['measures', measures],
    ]) {
      box.classList.add('tall');
      $(place).append(box);
    }
  }
  tables.show(status.tables);
  const written = status.tables.reduce((sum, t) => sum + t.bytes, 0);
  say($('tables-summary'), `${several(status.tables.length, 'table')}; this run has written ${bytes(written)}`);
  const all = status.stages.flatMap((s) => s.metrics.map((m) => ({ stage: s.name, ...m })));
  measures.show(all);
  $('measures').hidden = all.length === 0;
}

/** Rows whose columns are known only now; `null` is told from an empty text. */
export function sample(caption, columns, rows) {
  const cell = (value) => (value == null ? el('td', { class: 'null' }, 'null') : el('td', {}, String(value)));
  return el(
    'div',
    { class: 'rows sample', tabindex: '0', role: 'region', 'aria-label': caption },
    el(
      'table',
      {},
      el('caption', {}, caption),
      el('thead', {}, el('tr', {}, ...columns.map((c) => el('th', { scope: 'col' }, c)))),
      el('tbody', {}, ...rows.map((row) => el('tr', {}, ...row.map(cell)))),
    ),
  );
}

/** Samples of quarantine tables, as `api/rejects` answers. */
export function showRejects(answer) {
  const found = answer?.tables ?? [];
  $('rejects').hidden = found.length === 0;
  const text = JSON.stringify(found);
  if ($('rejects').shown === text) return;
  $('rejects').shown = text;
  $('rejects')
    .querySelectorAll('.rows')
    .forEach((box) => box.remove());
  for (const { stage, columns, rows } of found) {
    $('rejects').append(
      sample(rows.length ? `${stage}: ${several(rows.length, 'row')}` : `${stage}: no rows`, columns, rows),
    );
  }
}
