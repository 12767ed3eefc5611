// The report's panels as of the newest complete epoch.

import { $, el, say } from './dom.js';
import { count } from './format.js';

let shown = '';

/** Shows an answer of `api/report`. A panel may have a second, `narrow` picture for small screens. */
export function showReport(panels, epoch) {
  $('report').hidden = !panels?.length;
  if (!panels?.length) return;
  say($('report-meta'), epoch ? `As of epoch ${count(epoch)}` : '');
  const text = JSON.stringify(panels);
  if (text === shown) return;
  shown = text;
  const drawn = panels.map(panel);
  const inside = [];
  for (const one of drawn) {
    const strip = inside.at(-1);
    if (!one.classList.contains('number')) inside.push(one);
    // Neighbours that are numbers stand in one row, as in the report.
    else if (strip?.classList.contains('numbers')) strip.append(one);
    else inside.push(el('div', { class: 'numbers' }, one));
  }
  $('panels').replaceChildren(...inside);
}

function panel({ title, svg, narrow, html, note }) {
  const inside = [
    svg && picture(svg, narrow && 'on-desk'),
    narrow && picture(narrow, 'on-phone'),
    html && markup(html),
  ].filter(Boolean);
  const number = !svg && html && inside[0].querySelector('table') == null;
  const last = note ? el('p', { class: 'meta' }, note) : null;
  return el(
    'figure',
    { class: number ? 'number' : 'card' },
    el('figcaption', {}, el('h3', {}, title)),
    ...inside,
    last,
  );
}

/** What the server has drawn is parsed as what it is, and never becomes part of a text of markup here. */
function picture(text, when) {
  const whole = text.includes('xmlns=') ? text : text.replace('<svg', '<svg xmlns="http://www.w3.org/2000/svg"');
  const drawn = document.importNode(new DOMParser().parseFromString(whole, 'image/svg+xml').documentElement, true);
  drawn.classList.remove('on-desk', 'on-phone');
  if (when) drawn.classList.add(when);
  return drawn;
}

function markup(text) {
  const body = new DOMParser().parseFromString(text, 'text/html').body;
  const box = el('div', { class: 'rows' });
  box.append(...[...body.childNodes].map((node) => document.importNode(node, true)));
  const table = box.querySelector('table');
  if (table) {
    box.tabIndex = 0;
    box.setAttribute('role', 'region');
    box.setAttribute('aria-label', 'Rows of the panel');
  }
  return box;
}
