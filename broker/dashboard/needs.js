// Owns: the lines that say who needs whom, before at the left and after at the right of the topology. They repeat what is
// written in each component, and are drawn over it once it has its place on the page.

import { draw, h } from './dom.js';
import { partsOf } from './parts.js';
import * as words from './words.js';

/** Where the lines bend, at both sides of the components. */
const GUTTER = 26;
/** Lines end at the name of a component, a little apart from each other. */
const HEAD = 20;
const APART = 7;
/** Narrower than this, components are above each other and there is no room for lines. */
const WIDTH_MIN = 680;

export function needsMap() {
  return h('svg', { class: 'needs', 'aria-hidden': 'true', focusable: 'false' });
}

/** To be called after the page was drawn: lines follow what the browser made of it. */
export function drawNeeds(root, status) {
  const svg = root.querySelector('svg.needs');
  if (!svg || !status) return;
  const box = svg.getBoundingClientRect();
  const rows = [...svg.parentNode.querySelectorAll('li.part')].map((row) => row.getBoundingClientRect().top - box.top);
  draw(svg, box.width < WIDTH_MIN ? [] : lines(partsOf(status), rows, box.width, words.isCommitted(status)));
}

function lines(parts, rows, width, committed) {
  const at = new Map(parts.map((part, index) => [part.component, index]));
  const ends = new Map();
  const place = (component) => {
    const taken = ends.get(component) ?? 0;
    ends.set(component, taken + 1);
    return rows[at.get(component)] + HEAD + taken * APART;
  };
  const drawn = [];
  for (const part of parts) {
    // From above to below, so that lines of one component do not cross.
    const needs = [...(part.needs ?? [])].sort((a, b) => at.get(a) - at.get(b));
    for (const need of needs) {
      if (!at.has(need) || rows[at.get(need)] === undefined || need === part.component) continue;
      const [from, to] = [place(part.component), place(need)];
      const far = Math.min(GUTTER - 4, 10 + 6 * Math.abs(at.get(need) - at.get(part.component)));
      drawn.push(line(GUTTER, -far, from, to, 'before'));
      drawn.push(line(width - GUTTER, far, from, to, committed ? 'after' : 'after planned'));
    }
  }
  return drawn;
}

/** From who needs to what is needed, with the head of an arrow there. */
function line(x, far, from, to, name) {
  const tip = Math.sign(far) * 6;
  const bend = x + far * 1.3;
  return h(
    'g',
    { class: name },
    h('path', { d: `M${x} ${from}C${bend} ${from} ${bend} ${to} ${x + tip / 2} ${to}` }),
    h('path', { class: 'tip', d: `M${x + tip} ${to - 4}L${x} ${to}L${x + tip} ${to + 4}` }),
  );
}
