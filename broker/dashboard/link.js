// Owns: the connection. The whole status at once and every ten seconds, notices in between, and whether what is shown is
// still true: whether the broker answers, whether notices arrive, whether the broker itself hears the bus.

const STATUS_EVERY_MS = 10_000;
const STATUS_AGAIN_MS = 2_000;
const ANSWER_WITHIN_MS = 8_000;
const NOTICES_AGAIN_MS = 3_000;
/** Before the first notices are missed visibly: a stream may end and begin again. */
const NOTICES_MISSED_AFTER_MS = 4_000;

export class Link {
  /** Why the broker does not answer; null when it does. */
  failure = null;
  /** Since when no notices arrive; null when they do. */
  withoutNoticesSince = Date.now();
  busConnected = true;
  /** The broker asks who this is, and shows nothing before it knows. */
  asksLogin = false;
  /** Who is logged in; null when nobody is known to be. */
  who = null;
  #store;
  #source = null;
  #timer = null;
  #asking = false;
  /** Who looks has changed: what was asked for before that is nobody's. */
  #turn = 0;

  constructor(store) {
    this.#store = store;
  }

  async start() {
    await this.refresh();
    if (!this.asksLogin) {
      await this.#earlier();
      this.#listen();
    }
    document.addEventListener('visibilitychange', () => this.#seen());
    addEventListener('online', () => this.asksLogin || this.refresh());
  }

  /**
   * A page that nobody sees gives its stream back: browsers allow few connections to one host, and the broker few streams.
   * It still asks for the whole status, for its title and its charts.
   */
  #seen() {
    if (this.asksLogin) return;
    if (document.hidden) {
      this.#source?.close();
      this.#source = null;
      return;
    }
    if (this.#source === null) {
      this.withoutNoticesSince = Date.now();
      this.#listen();
    }
    this.refresh();
  }

  /** Somebody has logged in. */
  async entered() {
    this.#turn += 1;
    this.#asking = false;
    this.asksLogin = false;
    this.who = null;
    await this.#earlier();
    this.#listen();
    await this.refresh();
  }

  /** Somebody has logged out, or is not known any more. */
  left() {
    this.#turn += 1;
    this.#asking = false;
    this.asksLogin = true;
    this.who = null;
    this.#source?.close();
    this.#source = null;
    clearTimeout(this.#timer);
    this.#store.forget();
  }

  connected() {
    return this.failure === null;
  }

  missesNotices() {
    return this.withoutNoticesSince !== null && Date.now() - this.withoutNoticesSince > NOTICES_MISSED_AFTER_MS;
  }

  /** Asks for the whole status now, and again when it is time. */
  async refresh() {
    if (this.#asking) return;
    this.#asking = true;
    clearTimeout(this.#timer);
    const turn = this.#turn;
    const isOver = () => turn !== this.#turn;
    try {
      const askedAt = Date.now();
      const [answer, health] = await Promise.all([get('/v1/status'), get('/v1/health').catch(() => null)]);
      const told = Date.parse(answer.headers.get('date') ?? '');
      if (Number.isFinite(told)) this.#store.clockAhead = Math.abs(told - Date.now()) > 2_000 ? told - Date.now() : 0;
      const document = await answer.json();
      const who = this.who ?? (await get('/v1/session').then((told) => told.json(), () => null));
      if (isOver()) return;
      this.busConnected = health ? (await health.json()).bus_connected !== false : true;
      this.who = who;
      this.failure = null;
      this.#store.document(document, askedAt);
    } catch (error) {
      if (isOver()) return;
      if (error.status === 401) {
        this.left();
        return;
      }
      this.failure = reason(error);
      this.#store.changed();
    } finally {
      if (!isOver()) this.#asking = false;
      if (!isOver() && !this.asksLogin)
        this.#timer = setTimeout(() => this.refresh(), this.failure ? STATUS_AGAIN_MS : STATUS_EVERY_MS);
    }
  }

  /** The notices that the broker still has, so that the feed does not begin empty. */
  async #earlier() {
    try {
      const answer = await get('/v1/events?recent=true&follow=false', 'application/x-ndjson');
      if (!(answer.headers.get('content-type') ?? '').includes('ndjson')) return;
      for (const line of (await answer.text()).split('\n')) if (line.trim()) this.#store.earlier(JSON.parse(line));
    } catch {
      // The feed begins with what happens from now on.
    }
  }

  #listen() {
    const source = new EventSource('/v1/events');
    this.#source = source;
    source.onopen = () => {
      // What happened while there was no stream is in the whole status.
      const missed = this.withoutNoticesSince !== null && this.#store.receivedAt > 0;
      this.withoutNoticesSince = null;
      if (missed) this.refresh();
    };
    source.onmessage = (event) => {
      try {
        this.#store.notice(JSON.parse(event.data));
      } catch {
        // A notice that is not understood loses nothing: the whole status follows.
      }
    };
    source.onerror = () => {
      if (source !== this.#source) return;
      if (this.withoutNoticesSince === null) this.refresh();
      this.withoutNoticesSince ??= Date.now();
      if (source.readyState !== EventSource.CLOSED) return;
      setTimeout(() => source === this.#source && this.#listen(), NOTICES_AGAIN_MS);
    };
  }
}

async function get(path, accept = 'application/json') {
  const answer = await fetch(path, {
    headers: { accept },
    cache: 'no-store',
    signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
  });
  if (!answer.ok) throw Object.assign(new Error(`the broker answered ${answer.status} to ${path}`), { status: answer.status });
  return answer;
}

function reason(error) {
  if (error.name === 'TimeoutError') return `the broker did not answer within ${ANSWER_WITHIN_MS / 1000} s`;
  if (error instanceof TypeError) return 'the broker cannot be reached';
  if (error instanceof SyntaxError) return 'the broker answered with what is no JSON';
  return error.message;
}

/** A token for a session. Throws the problem that the broker answers. */
export async function logIn(token) {
  const answer = await send('/v1/session', 'POST', JSON.stringify({ token }));
  if (!answer.ok) throw await problemOf(answer);
}

/** Throws when the session goes on. */
export async function logOut() {
  const answer = await send('/v1/session', 'DELETE');
  if (!answer.ok) throw await problemOf(answer);
}

/** Asks the broker to do something. Throws the problem that it answers, or one that says what was in the way. */
export async function order(id, path) {
  const answer = await send(`/v1/relocations/${encodeURIComponent(id)}/${path}`, 'POST');
  if (!answer.ok) throw await problemOf(answer);
}

async function send(url, method, body) {
  try {
    return await fetch(url, {
      method,
      body,
      headers: { accept: 'application/json', ...(body ? { 'content-type': 'application/json' } : {}) },
      signal: AbortSignal.timeout(20_000),
    });
  } catch (error) {
    const remedy = 'see that the broker runs and try again: asking twice does no harm';
    throw {
      title: 'no answer',
      detail: error.name === 'TimeoutError' ? 'the broker did not answer in time' : 'the broker cannot be reached',
      remedy,
    };
  }
}

async function problemOf(answer) {
  const problem = await answer.json().catch(() => null);
  return (
    problem ?? {
      title: `the broker answered ${answer.status}`,
      detail: `the broker answered ${answer.status} ${answer.statusText}`,
      remedy: '',
    }
  );
}
