// Owns: how the page is drawn. A tree of plain nodes is compared with what is on the page, and only differences are
// written, so that focus, scroll, selection and open details stay. Text is only ever set as text: names come from strangers.

const SVG = 'http://www.w3.org/2000/svg';
const SVG_TAGS = new Set(['svg', 'path', 'rect', 'line', 'g', 'circle', 'text', 'polyline', 'polygon']);
const DRAWN = Symbol('drawn');

/**
 * A node: `h('td', {class: 'x', on: {click: f}}, 'text', [nodes], null)`. What is null or false is left out.
 * `key` tells siblings apart when they move.
 */
export function h(tag, props, ...children) {
  return { tag, props: props ?? {}, key: props?.key, children: flat(children) };
}

function flat(children) {
  const kept = [];
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === '') continue;
    kept.push(typeof child === 'object' ? child : String(child));
  }
  return kept;
}

/** Makes the children of `parent` be `nodes`. */
export function draw(parent, ...nodes) {
  const wanted = flat(nodes);
  const keyed = new Map();
  for (const child of parent.childNodes) {
    const key = child[DRAWN]?.key;
    if (key !== undefined) keyed.set(key, child);
  }
  const keys = new Set(wanted.map((node) => node.key));
  let at = parent.firstChild;
  for (const node of wanted) {
    // What has gone makes room, so that what stays is not moved: an element that is moved loses the focus.
    while (at?.[DRAWN]?.key !== undefined && !keys.has(at[DRAWN].key)) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
    const old = pick(node, at, keyed);
    const now = old ?? create(node);
    if (old) update(old, node);
    if (now === at) at = at.nextSibling;
    else parent.insertBefore(now, at);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

/** What is on the page that can become `node`. */
function pick(node, at, keyed) {
  if (typeof node === 'string') return at?.nodeType === Node.TEXT_NODE ? at : null;
  if (node.key !== undefined) {
    const old = keyed.get(node.key);
    keyed.delete(node.key);
    return old && old[DRAWN].tag === node.tag ? old : null;
  }
  const drawn = at?.[DRAWN];
  return drawn && drawn.tag === node.tag && drawn.key === undefined ? at : null;
}

function create(node) {
  if (typeof node === 'string') return document.createTextNode(node);
  const element = SVG_TAGS.has(node.tag) ? document.createElementNS(SVG, node.tag) : document.createElement(node.tag);
  element[DRAWN] = { tag: node.tag, key: node.key, props: {} };
  update(element, node);
  return element;
}

function update(element, node) {
  if (typeof node === 'string') {
    if (element.data !== node) element.data = node;
    return;
  }
  const drawn = element[DRAWN];
  for (const name of Object.keys(drawn.props)) {
    if (!(name in node.props)) set(element, name, null, drawn.props[name]);
  }
  for (const [name, value] of Object.entries(node.props)) set(element, name, value, drawn.props[name]);
  drawn.props = node.props;
  draw(element, node.children);
}

function set(element, name, value, before) {
  if (name === 'key') return;
  if (name === 'on') return listen(element, value ?? {}, before ?? {});
  if (Object.is(value, before)) return;
  // What a person types or chooses is changed only when the wanted value itself has changed.
  if (name === 'value' || name === 'selected' || name === 'disabled' || name === 'checked') element[name] = value ?? '';
  else if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? '' : value);
}

/** One listener per element and event; which function it calls is looked up when it happens. */
function listen(element, wanted) {
  element[DRAWN].on = wanted;
  const heard = (element[DRAWN].heard ??= new Set());
  for (const name of Object.keys(wanted)) {
    if (heard.has(name)) continue;
    heard.add(name);
    element.addEventListener(name, (event) => element[DRAWN].on[name]?.(event));
  }
}
