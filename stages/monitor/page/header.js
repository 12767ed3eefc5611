// The head of the page: what the run does, its numbers, faults and warnings; what is announced to those who listen.

import { $, el, icon, say, set, sync, turn } from './dom.js';
import { bytes, count, duration, moment, rate, several } from './format.js';

const WORDS = {
  starting: 'starting',
  running: 'running',
  paused: 'paused',
  draining: 'finishing',
  ended: 'ended',
  failed: 'failed',
};

/** Name, value, and what stands below; each is as wide as it ever gets. */
const NUMBERS = [
  ['rate', 'Rows per second', (s) => rate(s.rowsPerSecond), (s) => `${several(s.rows, 'row')} in`],
  [
    'epochs',
    'Epochs complete',
    (s) => count(s.epochs.completedByRun),
    (s) =>
      s.epochs.open
        ? `${several(s.epochs.open, 'open one', 'open ones')}, newest ${count(s.epochs.opened)}`
        : `none open, newest ${count(s.epochs.completed)}`,
  ],
  [
    'lag',
    'Lag',
    (s) => (s.epochs.open ? duration(s.epochs.lagSeconds) : 'none'),
    (s) => (s.epochs.open ? `since epoch ${count(s.epochs.completed + 1)} was bound` : 'no epoch is open'),
  ],
  [
    'backlog',
    'Backlog',
    (s) => several(s.backlog.objects, 'object'),
    (s) =>
      s.backlog.objects
        ? `${bytes(s.backlog.bytes)}${s.backlog.oldestSeconds == null ? '' : `, oldest ${duration(s.backlog.oldestSeconds)}`}`
        : 'nothing is outstanding',
  ],
  [
    'rejects',
    'Rejected rows',
    (s) => count(s.rejects),
    (s) =>
      s.rejects
        ? `${((s.rejects / Math.max(s.rows, 1)) * 100).toPrecision(2)} % of what came in`
        : 'of all that came in',
  ],
  ['workers', 'Workers', (s) => count(s.workers), (s) => `in ${several(s.processes, 'process', 'processes')}`],
];

let heard = { run: null, state: null, fault: null, warnings: new Set() };

/** Shows the head of a `Status`. */
export function showHeader(status) {
  say($('pipeline'), status.pipeline);
  const state = status.state;
  document.title = `${state === 'running' ? '' : `${WORDS[state] ?? state}: `}${status.pipeline} – Alluvium`;
  showState(state, true);
  say($('about'), status.description ?? '');
  $('about').hidden = !status.description;
  const over = state === 'ended' || state === 'failed';
  const age = duration((new Date(status.now) - new Date(status.started)) / 1000);
  const since = `began ${moment(status.started)}, ${over ? `and took ${age}` : `${age} ago`}`;
  const looks =
    status.intervalSeconds == null
      ? 'ends when everything is processed'
      : `looks for new objects every ${duration(status.intervalSeconds).replace('.0 ', ' ')}`;
  say($('meta'), `${since} · ${looks}`);
  set($('meta'), 'title', status.started);
  sync(
    $('numbers'),
    NUMBERS,
    ([name]) => name,
    number,
    (tile, [, , value, below]) => {
      say(tile.children[1], value(status));
      say(tile.children[2], below(status));
    },
  );
  const facts = [
    ['Run', status.runId],
    ['Plan', status.plan],
    ['State', status.stateUrl],
    ['Alluvium', status.version],
    ['As of', moment(status.now)],
  ];
  sync(
    $('identity'),
    facts,
    ([name]) => name,
    ([name]) => el('div', {}, el('dt', {}, name), el('dd')),
    (line, [, value]) => say(line.lastChild, value),
  );
  showFault(status);
  showWarnings(status.warnings);
  announce(status);
}

/** The state; of a run that is not heard from, the one that it was in. */
function showState(state, connected) {
  const box = $('state');
  if (!box.firstChild) box.append(icon(state), el('span'));
  set(box, 'data-state', state);
  turn(box.firstChild, connected ? state : 'lost');
  say(box.lastChild, connected ? (WORDS[state] ?? state) : `not connected, was ${WORDS[state] ?? state}`);
}

function number([name, title]) {
  return el('div', { class: 'number', id: `number-${name}` }, el('h2', {}, title), el('strong'), el('p'));
}

function showFault({ fault, stages }) {
  $('fault').hidden = !fault;
  if (!fault) return;
  if (!$('fault-title').firstChild) $('fault-title').append(icon('failed'), el('span'));
  // The engine itself can fail too.
  const known = stages.some((s) => s.name === fault.stage);
  const place = known ? where(fault) : where({ epoch: fault.epoch }) || fault.stage;
  say($('fault-title').lastChild, `The run has failed: ${place}`);
  say($('fault-message'), fault.message.replace(/\n +/g, '\n'));
  say($('fault-at'), `at ${moment(fault.at)}`);
  set($('fault-at'), 'title', fault.at);
}

const where = ({ stage, epoch }) =>
  [stage && `stage ${stage}`, epoch != null && `epoch ${count(epoch)}`].filter(Boolean).join(', ');

function showWarnings(warnings) {
  $('warnings').hidden = warnings.length === 0;
  // Durations in a message change every second; the message is the same.
  const key = (w) => `${w.stage} ${w.epoch} ${w.message.replace(/\d+/g, '#')}`;
  const make = () =>
    el('li', {}, icon('warning'), el('p', {}, el('strong'), el('span')), el('time', { class: 'meta' }));
  sync($('warnings-list'), warnings.toReversed(), key, make, (line, warning) => {
    const place = where(warning);
    say(line.children[1].firstChild, place ? `${place}: ` : '');
    say(line.children[1].lastChild, warning.message);
    say(line.lastChild, moment(warning.at));
    set(line.lastChild, 'datetime', warning.at);
    set(line.lastChild, 'title', warning.at);
  });
}

/** Only what a person must know is said aloud: another state, a fault, a stage that stands still. */
function announce(status) {
  const stalled = new Set(status.stages.filter((s) => s.condition === 'stalled').map((s) => s.name));
  const news = [];
  if (status.runId !== heard.run && heard.run != null) news.push('Another run has begun.');
  if (status.state !== heard.state) {
    const verb = ['ended', 'failed'].includes(status.state) ? 'has' : 'is';
    news.push(`The pipeline ${status.pipeline} ${verb} ${WORDS[status.state] ?? status.state}.`);
  }
  for (const stage of status.stages) {
    if (stalled.has(stage.name) && !heard.warnings.has(stage.name))
      news.push(`Stage ${stage.name} stands still: ${stage.cause ?? 'nobody knows why'}.`);
  }
  if (news.length) say($('polite'), news.join(' '));
  const fault = status.fault ? `The run has failed: ${where(status.fault)}: ${status.fault.message}` : null;
  if (fault !== heard.fault) say($('assertive'), fault ?? '');
  heard = { run: status.runId, state: status.state, fault, warnings: stalled };
}

/** Tells whether the page hears from the run: `since` is when it heard last, `null` while it does. */
export function showConnection(since, reason, final, enter) {
  const box = $('connection');
  const before = box.hidden;
  const kind = final ? 'over' : 'lost';
  box.hidden = since == null;
  document.body.classList.toggle('lost', since != null && !final);
  if (since == null) {
    if (!before && box.kind === 'lost') say($('polite'), 'Connected again.');
    return;
  }
  if (!box.firstChild)
    box.append(
      icon('lost'),
      el('span'),
      el('button', { type: 'button', class: 'quiet', hidden: true, onclick: () => box.enter() }, 'Enter the token'),
    );
  box.kind = kind;
  if (!final && heard.state) showState(heard.state, false);
  box.enter = enter;
  set(box, 'data-kind', kind);
  turn(box.firstChild, final ? 'waiting' : 'lost');
  box.lastChild.hidden = !enter;
  const ago = duration((Date.now() - since) / 1000).replace(/\.\d/, '');
  const last = heard.run ? 'What is shown is of then; the page' : 'The page';
  const text = final
    ? 'These are the last numbers of this run. The page goes on by itself when the pipeline runs again.'
    : `Not connected since ${moment(since)} (${ago}): ${reason}. ${last} tries again by itself.`;
  say(box.children[1], text);
  if (before && !final) say($('polite'), `Not connected: ${reason}.`);
}
