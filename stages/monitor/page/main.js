// The page of a run: documents come in, views show them.

import { follow, json } from './connection.js';
import { openDetails, showDetails, wireDetails } from './details.js';
import { addEpoch, setEpochs } from './epochs.js';
import { $, set } from './dom.js';
import { addPoint, setSeries } from './charts.js';
import { drawGraph, showGraph } from './graph.js';
import { showConnection, showHeader } from './header.js';
import { showReport } from './report.js';
import { askToken, showControls, wireControls } from './steer.js';
import { showRejects, showTables } from './tables.js';

/** Milliseconds until the next try after a run has ended, and between two looks at reports and samples. */
const AFTER_END = 5000;
const SLOW = 3000;

let status = null;
let drawn = null;
let heard = null;
let trouble = null;
/** A person has closed the dialog without a token: it is not shown again until they ask for it. */
let declined = false;

const final = () => status?.state === 'ended' || status?.state === 'failed';
const asked = async (wrong) => {
  if (declined) return null;
  const token = await askToken(wrong);
  declined = token == null;
  return token;
};
const get = (path) => json(path, {}, asked);
const post = async (path, body) => {
  declined = false;
  const headers = body ? { 'Content-Type': 'application/json' } : {};
  await json(path, { method: 'POST', headers, body: body && JSON.stringify(body) }, asked);
};

function show(next) {
  document.body.classList.remove('empty');
  status = next;
  heard = Date.now();
  showHeader(status);
  showControls(trouble ? null : status.state);
  showGraph(status);
  addPoint(status);
  showTables(status);
  showDetails(status);
}

/** Documents that change when an epoch completes, but not more often than anyone reads. */
let waiting = false;
let again = false;
async function slow() {
  if (waiting) {
    again = true;
    return;
  }
  waiting = true;
  again = false;
  try {
    const [report, rejects] = await Promise.all([get('report'), get('rejects?limit=20')]);
    showReport(report, status?.epochs.completed);
    showRejects(rejects);
  } catch {
    // They are asked for again after the next epoch, and a lost connection is told by the stream.
  }
  // From here on the page is whole.
  set($('main'), 'aria-busy', null);
  setTimeout(() => {
    waiting = false;
    // An epoch that came in between is shown too.
    if (again) slow();
  }, SLOW);
}

/** Everything, at the beginning and after each lost connection. */
async function open() {
  const next = await get('status');
  const plan = `${next.pipeline} ${next.plan}`;
  if (drawn !== plan) {
    drawGraph(await get('graph'), (stage, box) => openDetails(stage, box, status));
    drawn = plan;
  }
  const [epochs, series] = await Promise.all([get('epochs'), get('series')]);
  setEpochs(epochs);
  setSeries(series);
  trouble = null;
  show(next);
  if (!final()) showConnection(null);
  waiting = false;
  slow();
}

function event(name, told) {
  if (name === 'status') {
    // Without a break another run can only come through a server that stands between.
    if (status && told.runId !== status.runId) open().catch(() => {});
    else show(told);
  } else if (name === 'epoch') {
    addEpoch(told);
    slow();
  }
}

function lost(reason) {
  trouble = reason;
  showControls(null);
  tellLost();
  return final() ? AFTER_END : 0;
}

function tellLost() {
  if (trouble == null) return;
  const enter = declined
    ? () => {
        declined = false;
      }
    : null;
  showConnection(heard ?? began, trouble, final(), enter);
}

const began = Date.now();
wireControls(post);
wireDetails((stage, rejects) => get(`tap?stage=${encodeURIComponent(stage)}&rejects=${rejects}&rows=5`));
setInterval(tellLost, 1000);
follow({ open, event, lost, askToken: asked });
