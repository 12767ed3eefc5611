// Elements, and changing only what has changed: what a person has focused, selected or opened stays as it is.

const SVG = 'http://www.w3.org/2000/svg';

/** An element; `children` are nodes or texts, and text is never markup. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same of SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else set(element, name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Sets an attribute; `null` and `false` take it away. */
export function set(element, name, value) {
  if (value == null || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else {
    const text = value === true ? '' : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

/** Sets the text. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const $ = (id) => document.getElementById(id);

/**
 * Brings children of `parent` in line with `items`: each is made once, by its key, updated, and stands in order. What stays is
 * not moved, so that it keeps focus. The first `fixed` children are left alone.
 */
export function sync(parent, items, key, make, update, fixed = 0) {
  const known = parent.known ?? (parent.known = new Map());
  const names = items.map(key);
  const wanted = new Set(names);
  for (const [name, child] of known) {
    if (wanted.has(name)) continue;
    child.remove();
    known.delete(name);
  }
  let at = parent.children[fixed] ?? null;
  items.forEach((item, index) => {
    let child = known.get(names[index]);
    if (!child) known.set(names[index], (child = make(item)));
    update(child, item);
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  });
}

const SHAPES = {
  idle: 'M4 8h8',
  running: 'M5.5 3.5v9l7-4.5z',
  paused: 'M5.5 3.5v9M10.5 3.5v9',
  stalled: 'M8 2.5 14.5 13.5h-13zM8 6.5v3.5M8 11.6v.4',
  finished: 'm3 8.5 3.5 3.5L13 4.5',
  failed: 'm4 4 8 8m0-8-8 8',
  waiting: 'M8 4v4.5l3 1.5M8 2a6 6 0 1 0 .01 0',
};
const SAME = { starting: 'waiting', draining: 'waiting', ended: 'finished', lost: 'failed', warning: 'stalled' };

/** A small picture of a condition, for eyes only: words stand beside it. */
export function icon(name) {
  return svg('svg', { class: 'icon', viewBox: '0 0 16 16', 'aria-hidden': 'true' }, svg('path', { d: shape(name) }));
}

/** Shows another condition in an icon. */
export function turn(picture, name) {
  set(picture.firstElementChild, 'd', shape(name));
}

const shape = (name) => SHAPES[name] ?? SHAPES[SAME[name]] ?? SHAPES.idle;
