/**
 * Playhead for players: opens a playback session, resumes where the viewer stopped, sends heartbeats, and reads
 * resume points, continue watching, history and live streams. One module, no dependencies.
 *
 *     const playhead = new Playhead({ edge: 'https://edge.example', profile: 'acme/ada', getToken: async () => jwt });
 *     const viewing = playhead.attach(video, { titleId: 'long-dusk' });
 *     await viewing.ready;             // at most a second, whatever the network does
 *     video.play();
 *
 * Playback never waits for it longer than that, and never stops because of a failure in it.
 * All times are integer milliseconds; instants are milliseconds since 1970 by the edge's clock.
 */

const READY_MS = 1000; // how long `ready` waits for the edge
const SETTLED_MS = 10_000; // a session that has played less moves no resume point
const TIMEOUT_MS = 15_000;
const SLEEP_MS = 2000; // a wall clock this far ahead of the monotonic one: the device slept, or its clock was set
const SKEW_MS = 5000; // beyond this the edge takes no write, so a session id minted so far off is worth minting anew
const IDLE_MS = 30 * 60_000; // the edge ends the stream of a position that has not moved for so long
const SESSION_MS = 6.9 * 86_400_000; // a session may live seven days
const BATCH = 200; // of the 500 allowed: some 100 KB of 256
const LAST_BATCH = 90; // a page that closes may send 64 KiB
const KEPT = 1000; // beats kept while offline

const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));
const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
const random = (bytes) => crypto.getRandomValues(new Uint8Array(bytes));
const warn = (...words) => console.warn('playhead:', ...words);

/** Runs `work` so that nothing it throws, now or later, reaches the page. */
const guard =
  (work) =>
  (...args) => {
    try {
      const result = work(...args);
      result?.catch?.(warn);
      return result;
    } catch (error) {
      warn(error);
    }
  };

/** A UUID version 7: its first 48 bits are the session's birth. */
export function uuidv7(ms, noise = random(10)) {
  const digits = Math.floor(ms).toString(16).padStart(12, '0') + hex(noise);
  return [
    digits.slice(0, 8),
    digits.slice(8, 12),
    '7' + digits.slice(13, 16),
    '89ab'[noise[2] & 3] + digits.slice(17, 20),
    digits.slice(20, 32),
  ].join('-');
}

/** The birth that a UUIDv7 carries, in milliseconds since 1970. */
export const birth = (id) => parseInt(id.slice(0, 8) + id.slice(9, 13), 16);

/**
 * The edge's time on a device whose wall clock may lie and whose monotonic clock may stop while it sleeps.
 * What is stamped while not `sure` keeps the `skew` (edge minus wall) it believed in, and is put right by the next answer.
 */
export class Clock {
  constructor(mono = () => performance.now(), wall = () => Date.now()) {
    this.mono = mono;
    this.sure = false;
    this.wall = wall;
    this.gap = this.offset = wall() - mono(); // wall minus monotonic; edge minus monotonic
    this.anchoredAt = 0;
    this.rtt = 0;
  }

  now() {
    const mono = this.mono();
    const step = this.wall() - mono - this.gap;
    this.gap += step;
    if (step > SLEEP_MS) {
      // Most likely a sleep; if someone set the clock instead, the next answer says so.
      this.offset += step;
      this.sure = false;
    }
    return mono + this.offset;
  }

  /** Edge minus wall clock, as believed now. */
  get skew() {
    return this.offset - this.gap;
  }

  /** Taken before a request and handed to `anchor` with its answer. */
  mark() {
    this.now();
    return { mono: this.mono(), gap: this.gap };
  }

  /** Learns from an answer. `force`: the edge has refused our time. True if the time is sure now. */
  anchor(serverTime, mark, force) {
    this.now();
    const mono = this.mono();
    const rtt = mono - mark.mono;
    if (this.gap - mark.gap > SLEEP_MS) return this.sure; // slept in between: that time is old
    const slower = rtt > this.rtt * 1.5 && mono - this.anchoredAt < 600_000;
    if (this.sure && !force && slower) return true;
    // The middle of the round trip, but never far ahead: a little behind is tolerated, ahead is not.
    this.offset = serverTime - mono + Math.min(rtt, SLEEP_MS) / 2;
    this.anchoredAt = mono;
    this.rtt = rtt;
    return (this.sure = true);
  }
}

/** What is cumulative in a heartbeat, in content time. */
export class Counters {
  constructor(position = 0) {
    this.position = position;
    this.watched = this.furthest = 0;
  }

  /** The position came here by playing; by jumping, if further than `most` ahead. True if it moved. */
  played(position, most = Infinity) {
    const by = position - this.position;
    if (by > 0 && by <= most) {
      this.watched += by;
      this.furthest = Math.max(this.furthest, position);
    }
    return this.jumped(position);
  }

  /** The position came here by seeking. True if it moved. */
  jumped(position) {
    const moved = position !== this.position;
    this.position = position;
    return moved;
  }
}

/**
 * At most `kept` of the queue's entries. Progress beats with a newer beat of their session go first, oldest first: beats
 * are cumulative, so those lose nothing but detail. Then any with a newer one, then the oldest.
 */
export function thin(queue, kept = KEPT) {
  let excess = queue.length - kept;
  for (const spare of [(beat) => beat.event === 'progress', () => true]) {
    if (excess <= 0) return queue;
    const newest = new Map(queue.map((entry) => [entry.beat.session_id, entry]));
    queue = queue.filter((entry) => {
      const drop = excess > 0 && spare(entry.beat) && newest.get(entry.beat.session_id) !== entry;
      if (drop) excess--;
      return !drop;
    });
  }
  return excess > 0 ? queue.slice(excess) : queue;
}

/**
 * Shifts what was stamped while the clock was not sure, now that it is. `remint`: session ids minted unsure are minted
 * anew. Entries and viewings alike have `skew` (of their stamps) and `minted` (of their session id), absent if sure.
 * Returns the entries that changed.
 */
export function reanchor(queue, viewings, skew, remint) {
  const ids = new Map();
  const last = new Map();
  const renamed = (id, minted) => {
    if (remint && minted !== undefined && Math.abs(skew - minted) > SKEW_MS && !ids.has(id))
      ids.set(id, uuidv7(birth(id) + skew - minted));
    return ids.get(id) ?? id;
  };
  for (const viewing of viewings) last.set(viewing.sessionId, viewing.answered ?? 0);
  const changed = queue.filter((entry) => {
    const { beat } = entry;
    const old = beat.session_id;
    const by = entry.skew === undefined ? 0 : Math.round(skew - entry.skew);
    beat.session_id = renamed(old, entry.minted);
    if (beat.session_id !== old) entry.minted = undefined;
    const before = beat.observed_at;
    beat.observed_at = Math.max(before + by, (last.get(old) ?? 0) + 1); // stamps rise, whatever the clocks did
    beat.moved_at = Math.min(beat.moved_at + by, beat.observed_at);
    last.set(old, beat.observed_at);
    const stale = entry.skew !== undefined;
    entry.skew = undefined;
    return stale || beat.observed_at !== before || beat.session_id !== old;
  });
  for (const viewing of viewings) {
    const old = viewing.sessionId;
    if (viewing.skew !== undefined) viewing.movedAt += Math.round(skew - viewing.skew);
    viewing.skew = undefined;
    viewing.last = last.get(old);
    viewing.sessionId = renamed(old, viewing.minted);
    if (viewing.sessionId !== old) viewing.minted = undefined;
  }
  return changed;
}

/** The default storage: IndexedDB, one database a profile. Without it (a private window, say) the queue lives in memory. */
export function indexedDbStorage(name) {
  let db;
  const opened = new Promise((resolve, reject) => {
    const request = indexedDB.open('playhead/' + name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore('beats');
    request.onsuccess = () => resolve((db = request.result));
    request.onerror = () => reject(request.error);
  });
  opened.catch(() => {});
  const write = (work) => {
    const tx = db.transaction('beats', 'readwrite');
    work(tx.objectStore('beats'));
    tx.commit?.(); // a page that closes has no later
  };
  // Synchronous once the database is open, because a page that closes runs no promises.
  const later = (work) => (db ? write(work) : opened.then(() => write(work)).catch(() => {}));
  return {
    put: (key, entry) => later((store) => store.put(entry, key)),
    remove: (keys) => later((store) => keys.forEach((key) => store.delete(key))),
    async all() {
      const store = (await opened).transaction('beats').objectStore('beats');
      const [keys, entries] = await Promise.all(
        [store.getAllKeys(), store.getAll()].map(
          (request) =>
            new Promise((resolve, reject) => {
              request.onsuccess = () => resolve(request.result);
              request.onerror = () => reject(request.error);
            }),
        ),
      );
      return keys.map((key, i) => [key, entries[i]]);
    },
  };
}

/** An answer that refuses. `code` is stable (RFC 9457 problem details); status 0: no answer at all. */
export class Problem extends Error {
  constructor(status, data, retryAfterMs) {
    super(`${data?.code ?? 'unreachable'} (${status}) ${data?.detail ?? data?.title ?? ''}`);
    this.status = status;
    this.code = data?.code;
    this.data = data;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Sends requests, and the queue of beats. The queue in memory leads; the storage is its copy for the next page. */
export class Sender extends EventTarget {
  constructor(options) {
    super();
    this.edge = options.edge.replace(/\/$/, '');
    this.getToken = options.getToken;
    this.fetch = options.fetch ?? ((...args) => fetch(...args));
    this.clock = options.clock ?? new Clock();
    this.interval = 30_000;
    this.viewings = new Set();
    this.queue = [];
    this.size = BATCH;
    this.failures = this.serial = this.adoptedAt = 0;
    this.tab = hex(random(6));
    const name = options.profile ?? 'default';
    this.lockName = `playhead/${name}/`;
    try {
      this.storage = options.storage ?? indexedDbStorage(name);
    } catch {
      this.storage = { put() {}, remove() {}, all: async () => [] };
    }
    this.hold();
    this.loaded = Promise.race([this.adopt().catch(warn), sleep(READY_MS)]);
    this.loaded.then(() => this.flush());
  }

  /** Shows the other tabs, for as long as this page lives, that this tab sends its own beats. */
  hold() {
    globalThis.navigator?.locks
      ?.request(this.lockName + this.tab, () => new Promise((release) => (this.release = release)))
      .catch(() => {});
  }

  /** Takes over what pages that are gone left unsent. Two tabs may take the same: sending twice is harmless. */
  async adopt() {
    this.adoptedAt = this.clock.mono();
    const [kept, locks] = await Promise.all([this.storage.all(), globalThis.navigator?.locks?.query()]);
    const alive = new Set(locks?.held.map((lock) => lock.name));
    const mine = new Set(this.queue.map((entry) => entry.key));
    const orphans = kept.filter(
      ([key]) => !key.startsWith(this.tab) && !mine.has(key) && !alive.has(this.lockName + key.split('.')[0]),
    );
    this.queue.unshift(...orphans.map(([key, entry]) => ({ ...entry, key })));
    if (this.clock.sure) this.reanchor(true);
  }

  reanchor(remint) {
    const changed = reanchor(this.queue, this.viewings, this.clock.skew, remint);
    for (const { key, ...entry } of changed) this.storage.put(key, entry);
  }

  push(entry) {
    this.storage.put((entry.key = `${this.tab}.${String(this.serial++).padStart(9, '0')}`), { ...entry });
    this.queue.push(entry);
    if (this.queue.length > KEPT) {
      const left = new Set(thin(this.queue));
      this.drop(this.queue.filter((old) => !left.has(old)));
    }
  }

  drop(entries) {
    const gone = new Set(entries);
    this.queue = this.queue.filter((entry) => !gone.has(entry));
    this.storage.remove(entries.map((entry) => entry.key));
  }

  /**
   * Sends one request; a token that is refused is renewed once, a clock that is refused is set right. `make` gives path
   * and body, anew for each attempt, because stamps and session ids may shift in between. Throws a `Problem`.
   */
  async request(method, make, keepalive) {
    for (let renewed = false, shifted = false; ;) {
      try {
        this.token = (!renewed && this.token) || (await this.getToken({ refresh: renewed }));
      } catch (error) {
        throw new Problem(0, { detail: `no token: ${error}` });
      }
      try {
        return await this.exchange(method, make(), keepalive);
      } catch (problem) {
        if (problem.status === 401 && !renewed) renewed = true;
        else if (problem.code === 'clock_skew' && !shifted) shifted = true;
        else throw problem;
      }
    }
  }

  /** One exchange. Everything up to `fetch` happens at once, so that a page that closes can still call it. */
  async exchange(method, { path, body }, keepalive) {
    const mark = this.clock.mark();
    const believed = this.clock.sure ? this.clock.skew : undefined;
    let status = 0;
    let data, retryAfter, failure;
    try {
      const answer = await this.fetch(this.edge + path, {
        method,
        keepalive,
        credentials: 'omit',
        headers: {
          authorization: `Bearer ${this.token}`,
          ...(body && { 'content-type': 'application/json' }),
        },
        body: body && JSON.stringify(body),
        signal: AbortSignal.timeout?.(TIMEOUT_MS),
      });
      retryAfter = answer.headers.get('retry-after') * 1000 || undefined;
      data = await answer.json().catch(() => undefined);
      status = answer.status;
    } catch (error) {
      failure = { detail: String(error) };
    }
    const refused = status === 409 && data?.code === 'clock_skew';
    // A cached read may carry an old time.
    if (data?.server_time && (method !== 'GET' || status > 399)) {
      // Refused though we were sure, and still are: what we stamped in that belief shifts as well.
      if (refused && Math.abs(this.clock.skew - believed) < 100)
        for (const entry of this.queue) entry.skew ??= believed;
      if (this.clock.anchor(data.server_time, mark, refused)) this.reanchor(refused);
    }
    this.interval = data?.heartbeat_interval_ms || this.interval;
    const detail = { method, path, status, code: data?.code, ms: Math.round(this.clock.mono() - mark.mono) };
    this.dispatchEvent(new CustomEvent('answer', { detail }));
    if (status > 199 && status < 300) return data;
    throw new Problem(status, data ?? failure, retryAfter);
  }

  /** Sends the queue, one batch at a time; resolves when all was tried. `now`: whatever the backoff says. */
  flush(now) {
    if (now) this.failures = 0;
    if (now || !this.waiting) this.flushing ??= this.sendAll();
    return this.flushing;
  }

  async sendAll() {
    clearTimeout(this.waiting);
    this.waiting = undefined;
    try {
      await this.loaded;
      if (this.clock.mono() - this.adoptedAt > 60_000) await this.adopt().catch(warn);
      for (let due; (due = this.due()).length && !this.waiting;) await this.sendBatch(due);
    } finally {
      this.flushing = undefined;
    }
  }

  /** The next batch. Beats of a session wait for its admission: they would take the stream that is being asked for. */
  due() {
    const opening = [...this.viewings].filter((viewing) => viewing.pending).map((viewing) => viewing.sessionId);
    return this.queue.filter(({ beat }) => !opening.includes(beat.session_id)).slice(0, this.size);
  }

  async sendBatch(batch) {
    const sent = this.sending(batch);
    const hidden = globalThis.document?.visibilityState === 'hidden' && batch.length <= LAST_BATCH;
    try {
      const answer = await this.request('POST', sent.make, hidden);
      this.failures = 0;
      this.size = Math.min(BATCH, this.size * 2);
      this.settle(sent, answer);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      this.cope(problem, batch);
    }
  }

  /** A batch on its way, and which of it was stamped or minted unsure when it left. */
  sending(batch) {
    const sent = { batch };
    sent.make = () => {
      sent.unsure = batch.map((entry) => entry.skew !== undefined);
      sent.stamps = batch.map((entry) => entry.beat.observed_at);
      const sent_at = Math.floor(this.clock.now());
      return { path: '/v1/heartbeats', body: { sent_at, heartbeats: batch.map((entry) => entry.beat) } };
    };
    return sent;
  }

  settle({ batch, unsure, stamps }, answer) {
    const refusals = new Map(answer?.rejected?.map((refusal) => [refusal.index, refusal]));
    const accepted = new Map();
    const done = batch.filter((entry, i) => {
      const refusal = refusals.get(i);
      if (!refusal) accepted.set(entry.beat.session_id, stamps[i]);
      // What was stamped unsure has been put right by this very answer: once more.
      else if (unsure[i] && entry.skew === undefined) return false;
      else warn('heartbeat rejected:', refusal.code, refusal.detail, entry.beat);
      return true;
    });
    this.drop(done);
    // The edge knows these sessions by their ids now: they keep them.
    for (const entry of this.queue) if (accepted.has(entry.beat.session_id)) entry.minted = undefined;
    for (const viewing of this.viewings) {
      const stamp = accepted.get(viewing.sessionId);
      if (stamp) {
        viewing.minted = undefined;
        viewing.answered = Math.max(viewing.answered, stamp);
        viewing.last = Math.max(viewing.last, stamp);
      }
      for (const end of answer?.ended ?? []) if (end.session_id === viewing.sessionId) viewing.end(end);
    }
  }

  cope(problem, batch) {
    const { status, code } = problem;
    if ((status === 413 || code === 'too_many') && batch.length > 1) {
      this.size = Math.ceil(batch.length / 2);
    } else if ([400, 413, 415].includes(status)) {
      warn('dropped', batch.length, 'heartbeats:', problem.message);
      this.drop(batch);
    } else {
      const backoff = Math.min(60_000, 1000 * 2 ** this.failures++) * (0.5 + Math.random() / 2);
      this.waiting = setTimeout(() => {
        this.waiting = undefined;
        this.flush();
      }, problem.retryAfterMs ?? backoff);
    }
  }

  /** The page closes: what is unsent goes by `keepalive`, newest beats if it is much; it is in the storage already. */
  farewell() {
    const sent = this.sending(this.queue.slice(-LAST_BATCH));
    if (sent.batch.length && this.token)
      this.exchange('POST', sent.make(), true).then(
        (answer) => this.settle(sent, answer),
        () => {},
      );
    this.release?.();
  }
}

/** One playing of a title in a video element; across several sessions, should the first end. */
export class Viewing extends EventTarget {
  constructor(sender, video, options) {
    super();
    Object.assign(this, { sender, video, options });
    this.evict = options.evict;
    this.fresh = options.resume !== false; // nothing played yet, so a resume point may still be sought
    sender.viewings.add(this);
    this.off = new AbortController();
    const on = {
      play: () => (this.live ? this.started && this.beat('resume') : this.open(this.fresh)),
      playing: () => this.play(),
      pause: () => this.pause(),
      timeupdate: () => this.sample(),
      ratechange: () => this.sample(),
      seeking: () => this.sample(),
      seeked: () => this.seeked(),
      ended: () => this.close('stop'),
      emptied: () => this.started && this.stop(),
    };
    for (const type in on) video.addEventListener(type, guard(on[type]), { signal: this.off.signal });
    /** Resolves within about a second, whatever happens; never rejects. */
    this.ready = this.open(this.fresh).catch(warn);
  }

  async open(resume) {
    const { sender, video } = this;
    const { clock } = sender;
    this.sessionId = uuidv7(clock.now());
    this.minted = clock.sure ? undefined : clock.skew;
    this.counters = new Counters(video.currentTime * 1000);
    this.live = true;
    this.started = this.playing = this.admitted = false;
    this.last = this.answered = 0;
    this.movedAt = Math.floor(clock.now());
    this.skew = this.minted;
    this.sampledAt = clock.mono();
    this.rate = video.playbackRate;
    const attempt = this.counters;
    const put = this.admit(resume).catch((problem) => warn(problem.message));
    this.pending = true;
    this.opening = Promise.race([put, sleep(READY_MS)]).finally(() => (this.pending = false));
    this.tick();
    if (!video.paused && video.readyState > 2) this.play();
    const answer = await this.opening;
    if (answer || !this.live || attempt !== this.counters) return answer;
    // The edge is away or slow: what this device itself has not yet sent is the best that is known.
    await sender.loaded;
    const known = this.unsent();
    if (resume && known) this.seek(known.position_ms);
    return { admission: 'unverified', resume: known ?? null };
  }

  /** The newest unsent beat from which another session would resume. */
  unsent() {
    const counts = ({ beat }) =>
      beat.title_id === this.options.titleId && beat.session_id !== this.sessionId && beat.watched_ms >= SETTLED_MS;
    return this.sender.queue.findLast(counts)?.beat;
  }

  /** Asks the edge for a stream and the resume point. */
  async admit(resume) {
    const { sender, video } = this;
    const attempt = this.counters;
    try {
      const answer = await sender.request('PUT', () => ({
        path: '/v1/sessions/' + this.sessionId,
        body: { sent_at: Math.floor(sender.clock.now()), title_id: this.options.titleId, evict: this.evict },
      }));
      if (attempt !== this.counters || !this.live) {
        if (attempt === this.counters && !this.started) await this.release();
        return answer;
      }
      this.evict = this.minted = undefined;
      this.admitted = true;
      this.tick(); // by the interval that this answer has set
      const known = this.unsent();
      const at = known && !(answer?.resume?.moved_at > known.moved_at) ? known : answer?.resume;
      if (resume && at?.position_ms > 0 && !/^(watched|unstarted)$/.test(at.progress)) this.seek(at.position_ms);
      this.emit('admitted', answer);
      return answer;
    } catch (problem) {
      if (problem.code !== 'stream_limit') throw problem;
      if (attempt !== this.counters || !this.live) return;
      this.live = false;
      const { conflicts, streams, limit } = problem.data;
      const detail = { limit: streams?.limit ?? limit, conflicts: conflicts ?? [] };
      if (this.emit('streamlimit', detail)) {
        clearTimeout(this.timer);
        video.pause();
        // What played until the answer came was never a session.
        sender.drop(sender.queue.filter(({ beat }) => beat.session_id === this.sessionId));
      } else this.live = true;
      return { admission: 'refused', ...detail };
    }
  }

  /** Goes to a resume point, unless the viewer has meanwhile chosen another place. */
  seek(position) {
    const { video, counters } = this;
    const go = () => {
      if (this.sought || counters !== this.counters || counters.watched >= SETTLED_MS) return;
      this.resuming = true;
      video.currentTime = position / 1000;
      counters.jumped(position);
      this.emit('resume', { position_ms: position });
    };
    if (video.readyState > 0) go();
    else video.addEventListener('loadedmetadata', guard(go), { once: true, signal: this.off.signal });
  }

  /** Brings the counters up to the video. */
  sample() {
    const { video, counters, sender } = this;
    if (!counters) return;
    const mono = sender.clock.mono();
    // Further than playing could have come is a jump that no event told of (a gap in the stream, say).
    const most = (mono - this.sampledAt) * Math.max(this.rate, video.playbackRate) * 1.25 + 1000;
    const at = video.currentTime * 1000;
    // A video that has just been paused may correct its position a little: nobody moved it.
    if (!this.playing && !video.seeking && Math.abs(at - counters.position) < 250) return;
    const moved = video.seeking || !this.playing ? counters.jumped(at) : counters.played(at, most);
    this.sampledAt = mono;
    this.rate = video.playbackRate;
    if (!moved) return;
    this.movedAt = Math.floor(sender.clock.now());
    this.skew = sender.clock.sure ? undefined : sender.clock.skew;
  }

  play() {
    if (!this.live) return;
    this.sample();
    this.playing = true;
    if (this.started) return;
    this.started = true;
    this.fresh = false;
    this.beat('start');
  }

  pause() {
    this.sample();
    this.playing = false;
    if (this.live && this.started && !this.video.ended) this.beat('pause');
  }

  seeked() {
    this.sample();
    if (this.resuming) return void (this.resuming = false);
    this.sought = true;
    if (!this.started) return;
    clearTimeout(this.scrubbing); // scrubbing is many seeks; its end is the news
    this.scrubbing = setTimeout(
      guard(() => this.live && this.beat('seek')),
      500,
    );
  }

  tick() {
    clearTimeout(this.timer);
    this.timer = setTimeout(
      guard(() => {
        const idle = this.sender.clock.now() - this.movedAt > IDLE_MS;
        if (this.live && this.started && !idle) this.beat('progress');
        this.tick();
      }),
      this.sender.interval * (0.9 + Math.random() * 0.2), // jitter, so that devices do not march in step
    );
  }

  /** Says where the playback stands; sends it at once unless `later`. */
  beat(event, later) {
    const { sender, video, options, counters } = this;
    const { clock } = sender;
    this.sample();
    const now = clock.now();
    const skew = clock.sure ? undefined : clock.skew;
    const duration = options.durationMs ?? Math.round(video.duration * 1000);
    this.last = Math.max(this.last + 1, Math.floor(now));
    sender.push({
      skew,
      minted: this.minted,
      beat: {
        session_id: this.sessionId,
        title_id: options.titleId,
        event,
        playing: event !== 'stop' && !video.paused && !video.ended,
        observed_at: this.last,
        moved_at: Math.min(this.movedAt, this.last),
        position_ms: Math.round(counters.position),
        duration_ms: duration > 0 && duration < Infinity ? duration : undefined, // live: none
        watched_ms: Math.round(counters.watched),
        furthest_ms: Math.round(counters.furthest),
        credits_ms: options.creditsMs,
        series_id: options.seriesId,
        next_title_id: options.nextTitleId,
      },
    });
    if (now - birth(this.sessionId) > SESSION_MS && event !== 'stop') {
      this.close('stop');
      this.open(false);
    }
    if (!later) this.opening.then(() => sender.flush());
  }

  /** The edge says that this session's stream is gone; it does so in every answer. */
  end({ reason, by }) {
    if (this.toldOf === this.sessionId + reason) return;
    this.toldOf = this.sessionId + reason;
    if (!this.emit('ended', { reason, by }) || !/^(evicted|stopped)$/.test(reason)) return;
    this.video.pause();
    this.close('stop'); // playing again asks for a stream again
  }

  /** Closes the session; playing again opens another. */
  close(event, later) {
    clearTimeout(this.timer);
    clearTimeout(this.scrubbing);
    if (!this.live) return;
    if (this.started) this.beat(event, later);
    else if (this.admitted && !later) this.release();
    this.live = this.playing = false;
  }

  /** Gives back a stream that never played. */
  release() {
    return this.sender.request('DELETE', () => ({ path: '/v1/sessions/' + this.sessionId })).catch(() => {});
  }

  /** The viewer is done. Resolves when the last beat is sent, or kept for later. */
  async stop() {
    this.close('stop');
    this.off.abort();
    this.sender.viewings.delete(this);
    await this.opening;
    await this.sender.flush();
  }

  emit(type, detail) {
    return this.dispatchEvent(new CustomEvent(type, { detail, cancelable: true }));
  }
}

/** One profile on one device. See playhead.d.ts for the options. */
export class Playhead extends EventTarget {
  #sender;
  #off = new AbortController();

  constructor(options) {
    super();
    const sender = (this.#sender = new Sender(options));
    sender.addEventListener('answer', ({ detail }) => this.dispatchEvent(new CustomEvent('answer', { detail })));
    const each = (work) => [...sender.viewings].forEach(work);
    const on = (target, type, work) => target?.addEventListener?.(type, guard(work), { signal: this.#off.signal });
    on(globalThis, 'online', () => sender.flush(true));
    on(globalThis, 'pagehide', () => {
      each((viewing) => viewing.close('stop', true));
      sender.farewell();
    });
    on(globalThis, 'pageshow', ({ persisted }) => {
      if (!persisted) return;
      sender.hold();
      each((viewing) => viewing.video.paused || viewing.open(false));
      sender.flush(true);
    });
    on(globalThis.document, 'visibilitychange', () => {
      if (document.visibilityState === 'hidden')
        each((viewing) => viewing.live && viewing.started && viewing.beat('progress'));
    });
  }

  attach(video, options = {}) {
    for (const other of this.#sender.viewings) if (other.video === video) guard(() => other.stop())();
    return new Viewing(this.#sender, video, options);
  }

  /** Stops everything, so that another profile may follow on the same page. */
  async close() {
    this.#off.abort();
    await Promise.all([...this.#sender.viewings].map((viewing) => viewing.stop()));
    this.#sender.release?.();
  }

  #call(method, path, query = {}, body) {
    const given = Object.entries(query).filter(([, value]) => value !== undefined);
    const suffix = given.length ? '?' + new URLSearchParams(given) : '';
    return this.#sender.request(method, () => ({ path: path + suffix, body }));
  }

  resume = async (titleIds) => (await this.#call('GET', '/v1/resume', { titles: titleIds.join() })).titles;
  continueWatching = (query) => this.#call('GET', '/v1/continue-watching', query);
  history = (query) => this.#call('GET', '/v1/history', query);
  streams = () => this.#call('GET', '/v1/streams');
  stopStream = (sessionId) => this.#call('DELETE', '/v1/sessions/' + sessionId);

  /**
   * A command's stamp is its time; DELETE has it in the query. A page that has only read so far knows no time, and a
   * command stamped by a slow wall clock would lose to what it answers: so it is sent at 0, refused, and sent again.
   */
  #command(method, path, body) {
    const { clock } = this.#sender;
    return this.#sender.request(method, () => {
      const observed_at = Math.floor(clock.now());
      const times = { observed_at, sent_at: clock.sure ? observed_at : 0 };
      return body ? { path, body: { ...body, ...times } } : { path: `${path}?${new URLSearchParams(times)}` };
    });
  }

  setWatched = (titleId, watched = true) => this.#command('PUT', `/v1/titles/${titleId}/watched`, { watched });
  setHidden = (titleId, hidden = true) => this.#command('PUT', `/v1/titles/${titleId}/hidden`, { hidden });
  forget = (titleId) => this.#command('DELETE', '/v1/titles/' + titleId);
  deleteHistoryEntry = (sessionId) => this.#command('DELETE', '/v1/history/' + sessionId);
}
