// Owns: how a relocation ended: downtime, checks, digests, addresses, what was changed inside guests, what stays, concerns.

import { h } from './dom.js';
import { badge } from './icons.js';
import { note, section, sentence, table, told } from './pieces.js';
import * as words from './words.js';
import { bytes, duration, plural } from './units.js';

export function reportPanels(status) {
  const { report } = status;
  if (!report) return [];
  return [
    checks(report),
    addresses(report),
    digests(report),
    arrived(report),
    guests(report),
    kept(report),
    concerns(report),
  ].filter(Boolean);
}

function checks(report) {
  if (!report.checks?.length) return null;
  const failed = report.checks.filter((check) => !check.passed).length;
  const rows = report.checks.map((check, index) => ({
    key: index,
    cells: [
      check.component,
      h('span', { class: 'url' }, check.url),
      check.passed ? badge('good', 'passed') : badge('bad', 'failed'),
      compared(check),
    ],
  }));
  const columns = [{ says: 'Component' }, { says: 'Address' }, { says: 'Verdict' }, { says: 'Value before, after' }];
  return section(
    'checks',
    'Checks',
    failed ? `${failed} failed` : 'all passed',
    table('Checks', columns, rows, { class: 'stacks' }),
  );
}

function compared({ before, after }) {
  if (!before && !after) return 'answered';
  if (before && before === after) return [h('span', { class: 'id' }, brief(after)), ' as before'];
  return [
    h('span', { class: 'id' }, brief(before ?? 'none')),
    ' then ',
    h('span', { class: 'id' }, brief(after ?? 'none')),
  ];
}

const brief = (text) => (text.length > 24 ? h('span', { title: text }, `${text.slice(0, 20)}…`) : text);

function addresses(report) {
  const known = (report.addresses ?? []).filter((one) => one.old || one.new);
  if (!known.length) return null;
  const rows = known.map((one, index) => ({
    key: index,
    cells: [
      one.component,
      one.name === one.instance ? one.name : `${one.name}, now ${one.instance}`,
      one.old ?? 'none',
      one.new ? (one.new === one.old ? `${one.new}, kept` : h('strong', {}, one.new)) : 'none',
      one.kind,
      one.network || '–',
      h('span', { class: 'id' }, one.mac),
    ],
  }));
  const columns = ['Component', 'Instance', 'Old', 'New', 'Kind', 'Network', 'MAC'].map((says) => ({ says }));
  return section(
    'addresses',
    'Addresses',
    `fluidcloud addresses ${report.id.slice(0, 8)}… writes them as hosts, JSON or CSV`,
    table('Addresses', columns, rows, { class: 'stacks' }),
  );
}

function digests(report) {
  if (!report.transfers?.length) return null;
  const rows = report.transfers.map((one) => ({
    key: words.diskName(one.disk),
    cells: [
      words.diskName(one.disk),
      bytes(one.bytes_total),
      bytes(one.bytes_read),
      bytes(one.bytes_zero),
      bytes(one.bytes_free ?? 0),
      bytes(one.bytes_reused),
      bytes(one.bytes_on_wire),
      duration(one.seconds),
      h('span', { class: 'id', title: one.digest }, one.digest.slice(0, 20)),
      one.verified ? badge('good', 'equal') : badge('bad', 'not compared', 'warning'),
    ],
  }));
  const areas = report.transfers.flatMap((one) => (one.areas ?? []).map((area) => h('li', {}, foundArea(one, area))));
  const columns = [
    { says: 'Disk' },
    ...['On disk', 'Read', 'Zeros', 'Of them free', 'Reused', 'On wire', 'Time'].map((says) => ({
      says,
      number: true,
    })),
    { says: 'Digest' },
    { says: 'Both ends' },
  ];
  const equal = report.transfers.every((one) => one.verified);
  return section(
    'digests',
    'What was copied',
    equal ? 'every digest is equal at both ends' : 'not everything was compared',
    table('What was copied', columns, rows, { class: 'stacks' }),
    areas.length ? h('ul', { class: 'lines quiet' }, areas) : null,
  );
}

function foundArea(transfer, area) {
  const read = area.whole_because
    ? `read whole, as ${area.whole_because}`
    : `${bytes(area.bytes_free)} of it free, not read`;
  return `${words.diskName(transfer.disk)} at ${bytes(area.start_bytes)}: ${area.content} of ${bytes(area.length_bytes)}, ${read}`;
}

function arrived(report) {
  const lines = [
    ...(report.instances ?? []).map(
      (one) =>
        `${one.component} runs as ${one.instance} in ${one.provider}${one.addresses.length ? ` at ${one.addresses.join(', ')}` : ''}`,
    ),
    ...(report.volumes ?? []).map((one) => `${one.component} is volume ${one.name} in ${one.provider}`),
    ...(report.images ?? []).map(
      (one) =>
        `${one.component} is image ${one.name} (${one.id}): ${bytes(one.bytes)} of ${one.disk_format}, compared with ${one.compared.join(', ')}, in ${duration(one.seconds)}`,
    ),
    ...(report.containers ?? []).map(
      (one) =>
        `${one.component} is container ${one.name}: ${plural(one.objects, 'object')}, ${bytes(one.bytes)}; ${one.copied} written (${bytes(one.bytes_copied)}), ${one.reused} there already${one.gone ? `, ${one.gone} gone meanwhile` : ''}, in ${duration(one.seconds)}`,
    ),
    ...(report.furnished ?? []).map(
      (one) =>
        `${one.kind.replaceAll('_', ' ')} ${one.decided_for ? `${one.target} of ${one.decided_for}` : one.source}: ${one.made ? 'made' : 'there already'}${(one.notes ?? []).map((text) => `, ${text}`).join('')}`,
    ),
  ];
  return lines.length
    ? section(
        'arrived',
        'At the target',
        null,
        h(
          'ul',
          { class: 'lines' },
          lines.map((line) => h('li', {}, line)),
        ),
      )
    : null;
}

function guests(report) {
  const lines = [
    ...(report.folded ?? []).map(
      (one) => `folded into ${one.into}: ${plural(one.entries, 'entry', 'entries')}, ${bytes(one.bytes)}`,
    ),
    ...(report.adapted ?? []).map((change) => `adapted: ${change}`),
  ];
  const files = (report.rewritten ?? []).map((file) =>
    h(
      'details',
      { key: file.file },
      h('summary', {}, `rewritten ${file.file}: ${plural(file.matches, 'match', 'matches')}`),
      h('pre', { tabindex: 0, 'aria-label': `Difference of ${file.file}` }, file.diff),
    ),
  );
  if (!lines.length && !files.length) return null;
  return section(
    'guests',
    'Changed inside guests',
    null,
    lines.length
      ? h(
          'ul',
          { class: 'lines' },
          lines.map((line) => h('li', {}, line)),
        )
      : null,
    files,
  );
}

function kept(report) {
  const lines = [
    ...(report.kept ?? []).map(
      (one) =>
        `${one.kind} ${one.name} of ${one.component} stays at ${one.provider} (${one.id}): ${bytes(one.size_bytes)}`,
    ),
    ...(report.keys ?? []).map((key) =>
      key.taken_at
        ? `key pair ${key.name} was created for ${key.component}; its private half was downloaded`
        : `key pair ${key.name} was created for ${key.component}; its private half waits to be downloaded, once: fluidcloud key ${report.id} --output FILE`,
    ),
  ];
  return lines.length
    ? section(
        'kept',
        'Stays because it was asked for',
        null,
        h(
          'ul',
          { class: 'lines' },
          lines.map((line) => h('li', {}, line)),
        ),
      )
    : null;
}

const SEVERITY = { critical: ['bad', 'warning'], warning: ['ask', 'warning'], information: ['over', 'info'] };

function concerns(report) {
  if (!report.concerns?.length) return null;
  const rank = Object.keys(SEVERITY);
  const sorted = [...report.concerns].sort((a, b) => rank.indexOf(a.severity) - rank.indexOf(b.severity));
  return section(
    'concerns',
    'Concerns',
    plural(sorted.length, 'concern'),
    sorted.map((concern) => {
      const [tone, drawn] = SEVERITY[concern.severity] ?? SEVERITY.information;
      return note(
        tone,
        drawn,
        h(
          'p',
          { class: 'says' },
          h('strong', {}, `${sentence(concern.severity)}, ${concern.subject}: `),
          told(concern.message),
        ),
        h('p', {}, h('strong', {}, 'What to do: '), told(concern.remedy)),
      );
    }),
  );
}
