// Owns: what relocations run on, as panels: providers, workers, queues; and the feed of what happened.

import { h } from './dom.js';
import { badge, icon } from './icons.js';
import { code, empty, failureNote, section } from './pieces.js';
import * as words from './words.js';
import { ago, bytes, clock, moment, plural } from './units.js';

const FEED_SHOWN = 60;

export function providersPanel(app) {
  const { providers, receivedAt } = app.store;
  const away = providers.filter((provider) => !provider.reachable).length;
  const body = providers.length
    ? h('ul', { class: 'rows' }, providers.map(provider))
    : empty(
        receivedAt
          ? [
              'No provider is configured. Add one to the configuration; ',
              code('fluidcloud providers'),
              ' shows whether it answers.',
            ]
          : 'Asking …',
      );
  return section('providers', 'Providers', away ? `${away} away` : null, body);
}

function provider(one) {
  const { capacity } = one;
  const labels = Object.entries(one.labels ?? {}).map(([name, value]) => (value ? `${name}=${value}` : name));
  const free = capacity
    ? `free: ${plural(capacity.vcpus, 'vCPU')}, ${bytes(capacity.memory_bytes)} memory, ${bytes(capacity.disk_bytes)} disk`
    : 'does not tell what is free';
  return h(
    'li',
    { key: one.id },
    h(
      'div',
      { class: 'line' },
      h('strong', { class: 'name' }, one.id),
      h(
        'span',
        { class: 'quiet' },
        [one.driver, one.region, one.reachable ? plural(one.instances, 'instance') : null].filter(Boolean).join(', '),
      ),
      one.reachable ? badge('good', 'reachable') : badge('bad', 'not reachable'),
    ),
    one.reachable ? h('div', { class: 'quiet number' }, free) : null,
    labels.length ? h('div', { class: 'quiet' }, labels.join(', ')) : null,
    one.failure ? failureNote(one.failure) : null,
  );
}

export function workersPanel(app) {
  const workers = [...app.store.workers.values()].sort(
    (a, b) => b.busy.length - a.busy.length || site(a).localeCompare(site(b)) || a.worker.localeCompare(b.worker),
  );
  const busy = workers.reduce((sum, worker) => sum + worker.busy.length, 0);
  const slots = workers.reduce((sum, worker) => sum + worker.slots, 0);
  const body = workers.length
    ? h(
        'ul',
        { class: 'rows' },
        workers.map((worker) => workerRow(app, worker)),
      )
    : empty(
        app.store.receivedAt
          ? [
              'No worker is there. The broker starts those that a relocation needs; to start one: ',
              code('fluidcloud migrator image volume rewrite object'),
            ]
          : 'Asking …',
      );
  return section('workers', 'Workers', workers.length ? `${busy} of ${plural(slots, 'slot')} busy` : null, body);
}

const site = (worker) => (worker.sites.length ? worker.sites.join(', ') : 'every site');

function workerRow(app, worker) {
  const silent = app.isSilent(worker);
  const since = (app.frozenAt() ?? Date.now()) - worker.heardAt;
  const state = silent
    ? badge('ask', 'silent', 'warning')
    : worker.draining
      ? badge('ask', 'draining', 'pause')
      : worker.busy.length
        ? badge('run', `${worker.busy.length} of ${worker.slots}`)
        : badge('over', `idle, ${plural(worker.slots, 'slot')}`);
  return h(
    'li',
    { key: worker.worker },
    h(
      'div',
      { class: 'line' },
      h('strong', { class: 'name' }, worker.kinds.join(', ')),
      h('span', {}, 'at ', site(worker)),
      state,
    ),
    worker.busy.map((task) =>
      h(
        'div',
        { class: 'task', key: words.stepName(task.step) + task.relocation },
        h(
          'a',
          { href: `#/relocations/${task.relocation}` },
          app.store.relocation(task.relocation)?.service ?? String(task.relocation).slice(0, 8),
        ),
        ` ${words.stepName(task.step)}`,
        task.epoch > 1 ? h('span', { class: 'quiet' }, `, attempt ${task.epoch}`) : null,
      ),
    ),
    h(
      'div',
      { class: 'quiet number' },
      `heard ${ago(since / 1000)} · `,
      h('span', { class: 'id', title: worker.worker }, worker.worker.slice(0, 15)),
      worker.pid ? ` · pid ${worker.pid}` : null,
      worker.version !== app.store.version ? ` · version ${worker.version}` : null,
    ),
    silent
      ? h('p', { class: 'quiet' }, 'It may be gone. Its tasks are issued again by themselves once their leases end.')
      : null,
  );
}

export function queuesPanel(app) {
  const { queues, receivedAt } = app.store;
  const told = queues.filter((queue) => attention(queue));
  const body = queues.length
    ? [
        told.map((queue) =>
          h('div', { class: 'note ask', key: queue.name }, icon('warning'), h('p', {}, attention(queue))),
        ),
        h(
          'table',
          { class: 'slim' },
          h('caption', { class: 'hidden' }, 'Queues'),
          h(
            'thead',
            {},
            h(
              'tr',
              {},
              h('th', { scope: 'col' }, 'Queue'),
              h('th', { scope: 'col', class: 'number' }, 'Ready'),
              h('th', { scope: 'col', class: 'number' }, 'Consumers'),
            ),
          ),
          h(
            'tbody',
            {},
            queues.map((queue) =>
              h(
                'tr',
                { key: queue.name, class: attention(queue) ? 'ask' : null },
                h('th', { scope: 'row', class: 'name' }, brief(queue.name)),
                h('td', { class: 'number' }, queue.ready),
                h('td', { class: 'number' }, queue.consumers),
              ),
            ),
          ),
        ),
      ]
    : empty(receivedAt ? 'The bus has told of no queue yet.' : 'Asking …');
  return section('queues', 'Queues', null, body);
}

const brief = (name) => name.replace(/^fluidcloud\./, '');

function attention(queue) {
  if (queue.ready === 0) return null;
  if (queue.name.endsWith('.dead'))
    return `${plural(queue.ready, 'message')} that nobody understood: the reason of each is in its header x-reason.`;
  if (queue.consumers === 0)
    return `${plural(queue.ready, 'message')} in ${brief(queue.name)} and nobody takes them: start what serves this queue.`;
  return null;
}

export function feedPanel(app) {
  const { lines } = app.store.feed;
  const body = lines.length
    ? h(
        'ol',
        { class: 'feed-lines' },
        lines.slice(0, FEED_SHOWN).map((line) => feedLine(app, line)),
      )
    : empty('What happens is told here, line by line.');
  return section('feed', 'Events', lines.length > FEED_SHOWN ? `latest ${FEED_SHOWN}` : null, body);
}

function feedLine(app, line) {
  const at =
    line.at === null ? 'earlier' : app.now() - line.at < 43_200_000 ? clock(line.at) : moment(line.at, app.now());
  return h(
    'li',
    { key: line.number, class: `${line.tone}${line.weighty ? ' weighty' : ''}` },
    line.at === null
      ? h('span', { class: 'time' }, at)
      : h('time', { class: 'time', datetime: new Date(line.at).toISOString() }, at),
    h('span', { class: 'dot', 'aria-hidden': 'true' }),
    h(
      'span',
      {},
      line.about.id
        ? h('a', { href: `#/relocations/${line.about.id}` }, line.about.service)
        : h('strong', {}, line.about.service),
      ' ',
      line.text,
    ),
  );
}
