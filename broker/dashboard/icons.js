// Owns: the few icons, as strokes on a grid of 16, in the colour of the text beside them. They repeat what a word says and
// are hidden from screen readers.

import { h } from './dom.js';

const SHAPES = {
  check: ['M3 8.5 6.5 12 13 4.5'],
  cross: ['M4 4l8 8M12 4l-8 8'],
  ring: ['M8 3a5 5 0 1 0 0 10A5 5 0 0 0 8 3z'],
  moving: ['M8 2.5a5.5 5.5 0 1 1-5.5 5.5'],
  retry: ['M13 8a5 5 0 1 1-1.6-3.7', 'M13 2v3h-3'],
  undo: ['M3.5 6.5h6a3.5 3.5 0 0 1 0 7H6', 'M6 3.5l-3 3 3 3'],
  warning: ['M8 2.2 14.5 13.5h-13z', 'M8 6.5v3.2M8 11.6v.2'],
  info: ['M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 0 0 8 2.2z', 'M8 7.4v3.6M8 5v.2'],
  person: ['M8 8a2.6 2.6 0 1 0 0-5.2A2.6 2.6 0 0 0 8 8z', 'M3 13.5c.4-2.6 2.4-4 5-4s4.6 1.4 5 4'],
  pause: ['M5.5 3.5v9M10.5 3.5v9'],
  play: ['M5 3.2 12.5 8 5 12.8z'],
  arrow: ['M2.5 8h11', 'M9.5 4l4 4-4 4'],
  clock: ['M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 0 0 8 2.2z', 'M8 5v3.2l2.2 1.5'],
  instance: ['M2.5 3.5h11v4h-11zM2.5 8.5h11v4h-11z', 'M5 5.5h.1M5 10.5h.1'],
  disk: ['M3 4.2c0-2 10-2 10 0v7.6c0 2-10 2-10 0z', 'M3 4.2c0 2 10 2 10 0'],
  image: ['M2.5 3.5h11v9h-11z', 'M2.5 10.5l3.5-3 3 3 2-1.5 2.5 2'],
  container: ['M8 2 13.5 5v6L8 14 2.5 11V5z', 'M2.5 5 8 8l5.5-3M8 8v6'],
  stays: [
    'M8 14s4.5-4.3 4.5-7.5a4.5 4.5 0 0 0-9 0C3.5 9.7 8 14 8 14z',
    'M8 7.8a1.3 1.3 0 1 0 0-2.6 1.3 1.3 0 0 0 0 2.6z',
  ],
  link: ['M6.5 9.5l3-3', 'M7.5 4.5 9 3a2.8 2.8 0 0 1 4 4l-1.5 1.5M8.5 11.5 7 13a2.8 2.8 0 0 1-4-4l1.5-1.5'],
};

export function icon(name, props = {}) {
  const spin = name === 'moving' ? ' spins' : '';
  const paths = (SHAPES[name] ?? SHAPES.ring).map((d) => h('path', { d }));
  return h(
    'svg',
    {
      ...props,
      class: `icon${spin} ${props.class ?? ''}`,
      viewBox: '0 0 16 16',
      width: 16,
      height: 16,
      'aria-hidden': 'true',
      focusable: 'false',
    },
    paths,
  );
}

/** A word with its tone: the colour only repeats it. */
export function badge(tone, says, iconName, props = {}) {
  const drawn = iconName ?? { run: 'moving', good: 'check', bad: 'cross', ask: 'clock', over: 'ring' }[tone] ?? 'ring';
  return h('span', { ...props, class: `badge ${tone}` }, icon(drawn), h('span', {}, says));
}
