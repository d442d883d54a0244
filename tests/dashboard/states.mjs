// States that a broker cannot be brought into at will, made of one of its real answers, or of a small one of our own where it
// has no relocation yet. The shapes are those of proto/schema/status.json.

const DISK = { component: 'app', disk: 'vda' };

function sample() {
  return {
    id: '8f6c3952-5dff-41d9-98dd-f53a13746f33',
    revision: 1,
    service: 'shop',
    source: 'cloud-a',
    target: 'cloud-b',
    phase: 'InitialSync',
    steps: [
      { id: 'reserve', state: 'done', seconds: 0.5, attempts: 1 },
      { id: { prepare: DISK }, state: 'done', seconds: 4, attempts: 1 },
      { id: { sync: DISK }, state: 'running', seconds: 30, attempts: 1, worker: 'worker-1' },
      { id: { freeze: 'app' }, state: 'waiting', seconds: 0, attempts: 0 },
      { id: { create: 'app' }, state: 'waiting', seconds: 0, attempts: 0 },
      { id: { verify: 'app' }, state: 'waiting', seconds: 0, attempts: 0 },
      { id: 'commit', state: 'waiting', seconds: 0, attempts: 0 },
    ],
    transfers: [{ disk: DISK, state: 'running', progress: progress(2 ** 30) }],
    created_at: '2026-11-28T01:00:00Z',
    changed_at: '2026-11-28T01:10:00Z',
  };
}

function progress(done) {
  return {
    bytes_total: 3 * 2 ** 30,
    bytes_done: done,
    bytes_read: done / 4,
    bytes_zero: done / 2,
    bytes_reused: done / 16,
    bytes_on_wire: done / 8,
    rate_bytes_per_sec: 9e7,
    eta_seconds: 25,
  };
}

const copy = (value) => JSON.parse(JSON.stringify(value));

function only(document, change) {
  const made = copy(document);
  const status = { ...sample(), ...change };
  delete status.report;
  made.relocations = [status];
  return made;
}

export function empty(document) {
  return { ...copy(document), relocations: [], workers: [], queues: [] };
}

export function awaiting(document) {
  return only(document, {
    phase: 'AwaitingCutover',
    eta_seconds: 95,
    rate_bytes_per_sec: 9e7,
    parts: [
      {
        component: 'app',
        kind: 'instance',
        name: 'shop-web',
        target_name: 'shop',
        needs: ['db', 'objects'],
        vcpus: 2,
        memory_bytes: 2 ** 31,
        disks: [
          { disk: 'vda', size_bytes: 3 * 2 ** 30, role: 'root' },
          { disk: 'vdb', size_bytes: 2 ** 30, role: 'data', fold_into: '/srv/shop' },
        ],
        networks: ['private'],
      },
      {
        component: 'db',
        kind: 'instance',
        name: 'shop-db',
        needs: [],
        vcpus: 4,
        memory_bytes: 2 ** 33,
        disks: [{ disk: 'vda', size_bytes: 2 ** 34, role: 'root' }],
        networks: ['private'],
      },
      { component: 'objects', kind: 'stays', name: 'http://10.0.0.1:9000/shop', needs: [], disks: [], networks: [] },
    ],
  });
}

export function stuck(document) {
  const failure = {
    code: 'provider',
    message: 'cannot start shop at cloud-a: its disk is not there',
    remedy: 'bring the disk back, then `fluidcloud retry`',
    retry: 'never',
  };
  const steps = sample().steps.map((step) => {
    if (step.id.sync)
      return {
        ...step,
        state: 'failed',
        worker: undefined,
        attempts: 3,
        failure: { ...failure, message: 'lost the connection', remedy: 'see that sshd runs' },
      };
    return step.id.freeze
      ? { ...step, state: 'failed', seconds: 12, attempts: 2, failure }
      : step.state === 'done'
        ? { ...step, state: 'undone' }
        : step;
  });
  const transfers = [{ disk: DISK, state: 'failed', progress: { ...progress(2 ** 30), rate_bytes_per_sec: 0 } }];
  return only(document, { phase: 'Stuck', conditions: ['stalled'], steps, transfers, failure });
}

/** Providers' own words and URLs are not checked by anybody; names are, but the page must not rely on it. */
export function hostile(document) {
  const evil = '<img src=x onerror=alert(1)><b>"\'&';
  const made = awaiting(document);
  const [status] = made.relocations;
  Object.assign(status, {
    service: evil,
    source: evil,
    target: evil,
    conditions: [`stalled: ${evil}`],
    failure: { code: 'internal', message: evil, remedy: `\`${evil}\``, retry: 'never' },
  });
  for (const part of status.parts) part.name = evil + 'x'.repeat(300);
  made.providers = [
    {
      id: evil,
      driver: evil,
      region: evil,
      reachable: false,
      labels: { [evil]: evil },
      instances: 0,
      failure: status.failure,
    },
  ];
  made.queues = [{ name: evil, ready: 1, consumers: 0 }];
  return made;
}
