/** What the device does about each answer of the edge, against an edge that is a function. */

import assert from 'node:assert/strict';
import test from 'node:test';
import { birth, Clock, Sender, uuidv7, Viewing } from '../playhead.js';

console.warn = () => {};
const NOW = 1_800_000_000_000;

function memory(entries = []) {
  const kept = new Map(entries);
  return {
    kept,
    put: (key, entry) => kept.set(key, entry),
    remove: (keys) => keys.forEach((key) => kept.delete(key)),
    all: async () => [...kept],
  };
}

/** A sender whose edge answers with `answers` in turn: `[status, body, headers]`, or `null` for no answer. */
function sender(answers, { wall = NOW, entries } = {}) {
  const calls = [];
  const tokens = [];
  const hands = { mono: 0 };
  const made = new Sender({
    edge: 'https://edge.test/',
    storage: memory(entries),
    clock: new Clock(
      () => hands.mono,
      () => wall + hands.mono,
    ),
    getToken: async ({ refresh }) => {
      tokens.push(refresh);
      return `token-${tokens.length}`;
    },
    fetch: async (url, { method, body, headers }) => {
      calls.push({
        method,
        path: url.replace('https://edge.test', ''),
        body: body && JSON.parse(body),
        token: headers.authorization,
      });
      const answer = typeof answers === 'function' ? answers(calls.at(-1)) : answers.shift();
      if (!answer) throw new TypeError('offline');
      const [status, data, more] = answer;
      return new Response(data && JSON.stringify(data), { status, headers: more });
    },
  });
  return { made, calls, tokens, hands };
}

const accepted = (more) => [202, { server_time: NOW, heartbeat_interval_ms: 20_000, rejected: [], ended: [], ...more }];
const entry = (n, more) => ({
  ...more,
  beat: {
    session_id: uuidv7(NOW),
    title_id: 't',
    event: 'progress',
    observed_at: NOW + n,
    moved_at: NOW + n,
    watched_ms: n,
    position_ms: n,
  },
});

async function flushed({ made }, count) {
  await made.loaded;
  for (let n = 0; n < count; n++) made.push(entry(n));
  await made.flush();
  clearTimeout(made.waiting);
}

test('each answer to heartbeats has its behaviour', async () => {
  const problem = (status, code, more, headers) => [status, { code, ...more }, headers];
  const cases = [
    // name, answers, beats, sizes of the batches sent, beats left
    ['accepted', [accepted()], 3, [3], 0],
    ['rejected ones are dropped', [accepted({ rejected: [{ index: 1, code: 'bad_position' }] })], 3, [3], 0],
    ['too many: split', [problem(400, 'too_many'), accepted(), accepted()], 4, [4, 2, 2], 0],
    ['too large: split', [problem(413, 'too_large'), accepted(), accepted()], 3, [3, 2, 1], 0],
    ['one that is too large alone is dropped', [problem(413, 'too_large')], 1, [1], 0],
    ['malformed: dropped', [problem(400, 'malformed')], 2, [2], 0],
    ['unavailable: kept', [problem(503, 'unavailable', {}, { 'retry-after': '7' })], 2, [2], 2],
    ['rate limited: kept', [problem(429, 'rate_limited', {}, { 'retry-after': '7' })], 2, [2], 2],
    ['a broken edge: kept', [[500]], 2, [2], 2],
    ['no answer: kept', [null], 2, [2], 2],
    ['an expired token is renewed once', [problem(401, 'token_expired'), accepted()], 2, [2, 2], 0],
    ['and no more than once', [problem(401, 'token_invalid'), problem(401, 'token_invalid')], 2, [2, 2], 2],
    ['a refused clock is set right', [problem(409, 'clock_skew', { server_time: NOW }), accepted()], 2, [2, 2], 0],
  ];
  for (const [name, answers, beats, sizes, left] of cases) {
    const edge = sender(answers);
    await flushed(edge, beats);
    assert.deepEqual(
      edge.calls.map(({ body }) => body.heartbeats.length),
      sizes,
      name,
    );
    assert.equal(edge.made.queue.length, left, name);
    assert.equal(edge.made.storage.kept.size, left, `${name}: storage`);
    assert.equal(!!edge.made.waiting, left > 0, `${name}: a retry is due`);
  }
});

test('the renewed token is asked for as such, and used', async () => {
  const edge = sender([[401, { code: 'token_expired' }], accepted()]);
  await flushed(edge, 1);
  assert.deepEqual(edge.tokens, [false, true]);
  assert.deepEqual(
    edge.calls.map(({ token }) => token),
    ['Bearer token-1', 'Bearer token-2'],
  );
});

test("the interval is the edge's to set", async () => {
  const edge = sender([accepted()]);
  await flushed(edge, 1);
  assert.equal(edge.made.interval, 20_000);
});

test('a cached read teaches no time', async () => {
  const edge = sender([[200, { server_time: NOW - 86_400_000, streams: [] }]]);
  await edge.made.request('GET', () => ({ path: '/v1/streams' }));
  assert.equal(edge.made.clock.sure, false);
});

test('a page takes over what an earlier one left, and sets its wrong clock right', async () => {
  const hour = 3_600_000;
  const id = uuidv7(NOW - hour);
  const left = {
    skew: 0,
    minted: 0,
    beat: { ...entry(0).beat, session_id: id, observed_at: NOW - hour, moved_at: NOW - hour },
  };
  const edge = sender(
    ({ body }) => (body.sent_at < NOW - 60_000 ? [409, { code: 'clock_skew', server_time: NOW }] : accepted()),
    {
      wall: NOW - hour,
      entries: [['earlier.1', left]],
    },
  );
  await flushed(edge, 0);
  const [first, second] = edge.calls.map(({ body }) => body.heartbeats[0]);
  assert.equal(first.observed_at, NOW - hour);
  assert.equal(second.observed_at, NOW);
  assert.equal(birth(second.session_id), NOW);
  assert.equal(edge.made.storage.kept.size, 0);
});

/** As much of a video element as the SDK asks for. */
class Video extends EventTarget {
  currentTime = 0;
  duration = 600;
  paused = true;
  ended = false;
  seeking = false;
  playbackRate = 1;
  readyState = 4;
  fire = (...types) => types.forEach((type) => this.dispatchEvent(new Event(type)));
  play() {
    this.paused = false;
    this.fire('play', 'playing');
  }
  pause() {
    this.paused = true;
    this.fire('pause');
  }
}

function watching(answers, options) {
  const edge = sender(answers);
  const video = new Video();
  const viewing = new Viewing(edge.made, video, { titleId: 't', ...options });
  const beats = () => edge.calls.flatMap(({ body }) => body?.heartbeats ?? []);
  const play = async (seconds) => {
    edge.hands.mono += seconds * 1000;
    video.currentTime += seconds;
    video.fire('timeupdate');
  };
  return { ...edge, video, viewing, beats, play };
}
const admits =
  (resume = null) =>
  ({ method }) =>
    method === 'PUT'
      ? [201, { server_time: NOW, resume, admission: 'admitted' }]
      : method === 'DELETE'
        ? [204]
        : accepted();

test('a viewing resumes, counts what is played, and stops', async () => {
  const { viewing, video, play, beats, made } = watching(
    admits({ position_ms: 180_000, progress: 'in_progress', moved_at: 1 }),
  );
  assert.equal((await viewing.ready).admission, 'admitted');
  assert.equal(video.currentTime, 180);
  video.fire('seeking', 'seeked');
  video.play();
  await play(12);
  video.pause();
  await viewing.stop();
  await made.flush();
  const [start, pause, stop] = beats();
  assert.deepEqual([start.event, pause.event, stop.event], ['start', 'pause', 'stop']);
  assert.equal(stop.position_ms, 192_000);
  assert.equal(stop.watched_ms, 12_000);
  assert.equal(stop.furthest_ms, 192_000);
  assert.equal(stop.playing, false);
  assert.equal(stop.moved_at, pause.moved_at, 'a pause moves nothing');
  assert.ok(start.observed_at < pause.observed_at && pause.observed_at < stop.observed_at);
});

test('idling on pause changes observed_at alone', async () => {
  const { viewing, video, play, beats, hands, made } = watching(admits());
  await viewing.ready;
  video.play();
  await play(20);
  video.pause();
  video.currentTime += 0.04; // browsers correct the position a little after a pause
  hands.mono += 60_000;
  viewing.beat('progress');
  await viewing.stop();
  await made.flush();
  const [pause, idle] = beats().filter(({ event }) => event === 'pause' || event === 'progress');
  assert.equal(idle.observed_at - pause.observed_at, 60_000);
  assert.deepEqual({ ...idle, observed_at: 0, event: '' }, { ...pause, observed_at: 0, event: '' });
});

test('a watched title starts from its beginning', async () => {
  const { viewing, video } = watching(admits({ position_ms: 590_000, progress: 'watched', moved_at: 1 }));
  await viewing.ready;
  assert.equal(video.currentTime, 0);
  await viewing.stop();
});

test('without a free stream the video pauses, and the page may say otherwise', async () => {
  const conflicts = [{ session_id: 's', device: 'tv' }];
  const refuses = ({ method }) =>
    method === 'PUT' ? [409, { code: 'stream_limit', server_time: NOW, conflicts }] : accepted();
  for (const goOn of [false, true]) {
    const { viewing, video } = watching(refuses);
    viewing.addEventListener('streamlimit', (event) => goOn && event.preventDefault());
    video.play();
    const answer = await viewing.ready;
    assert.equal(answer.admission, 'refused');
    assert.equal(answer.conflicts[0].device, 'tv');
    assert.equal(video.paused, !goOn);
    await viewing.stop();
  }
});

test('a stream that was evicted pauses once; one that was replaced plays on', async () => {
  for (const [reason, paused] of [
    ['evicted', true],
    ['stopped', true],
    ['replaced', false],
    ['over_limit', false],
  ]) {
    let told = 0;
    const { viewing, video, made } = watching(admits());
    await viewing.ready;
    viewing.addEventListener('ended', () => told++);
    video.play();
    for (let n = 0; n < 2; n++) viewing.end({ session_id: viewing.sessionId, reason, by: 'phone' });
    assert.equal(video.paused, paused, reason);
    assert.equal(told, 1, reason);
    await viewing.stop();
    await made.flush();
  }
});

test('an edge that is away holds nothing up: the device resumes from what it has not sent', async () => {
  const { viewing, video, made } = watching(() => null);
  await made.loaded;
  made.push({ beat: { ...entry(1).beat, position_ms: 240_000, watched_ms: 20_000 } });
  const began = Date.now();
  const answer = await viewing.ready;
  assert.ok(Date.now() - began < 1500);
  assert.equal(answer.admission, 'unverified');
  assert.equal(video.currentTime, 240);
  await viewing.stop();
  clearTimeout(made.waiting);
});

test('a stream that never played is given back', async () => {
  const { viewing, calls } = watching(admits());
  await viewing.ready;
  await viewing.stop();
  await new Promise((done) => setTimeout(done, 10));
  assert.deepEqual(
    calls.map(({ method }) => method),
    ['PUT', 'DELETE'],
  );
});

test('playing again after the end is another session, counted from where it stands', async () => {
  const { viewing, video, play, beats, made } = watching(admits());
  await viewing.ready;
  video.play();
  await play(30);
  video.paused = video.ended = true;
  video.fire('pause', 'ended');
  const first = viewing.sessionId;
  Object.assign(video, { ended: false, currentTime: 5 });
  video.play();
  await viewing.opening;
  await play(10);
  await viewing.stop();
  await made.flush();
  assert.notEqual(viewing.sessionId, first);
  assert.deepEqual(
    beats().map(({ event }) => event),
    ['start', 'stop', 'start', 'stop'],
  );
  assert.equal(beats()[1].watched_ms, 30_000);
  assert.equal(beats()[3].watched_ms, 10_000);
  assert.equal(beats()[3].furthest_ms, 15_000);
});

test('a session that a wrong clock has minted is opened under another id, and its beats follow', async () => {
  const day = 86_400_000;
  const edge = sender(
    ({ method, body }) => {
      if (Math.abs(body.sent_at - NOW) > 5000) return [409, { code: 'clock_skew', server_time: NOW }];
      return admits()({ method });
    },
    { wall: NOW + day },
  );
  const video = new Video();
  const viewing = new Viewing(edge.made, video, { titleId: 't' });
  const minted = viewing.sessionId;
  video.play();
  await viewing.ready;
  await viewing.stop();
  const [refused, opened] = edge.calls
    .filter(({ method }) => method === 'PUT')
    .map(({ path }) => path.split('/').at(-1));
  assert.equal(refused, minted);
  assert.equal(birth(opened), NOW);
  const posts = edge.calls.filter(({ method }) => method === 'POST');
  assert.ok(posts.length > 0);
  for (const { body } of posts)
    for (const beat of body.heartbeats) {
      assert.equal(beat.session_id, opened);
      assert.ok(beat.moved_at <= beat.observed_at && Math.abs(beat.observed_at - NOW) < 1000);
    }
});

test('a page that closes sends its last beats before it is gone', async () => {
  const { viewing, video, play, calls, made } = watching(admits());
  await viewing.ready;
  video.play();
  await play(15);
  await made.flush();
  const before = calls.length;
  viewing.close('stop', true);
  made.farewell();
  assert.equal(calls.length, before + 1, 'without waiting for anything');
  assert.equal(calls.at(-1).body.heartbeats.at(-1).event, 'stop');
  assert.ok(made.storage.kept.size > 0, 'and they are kept until the answer comes');
  await new Promise((done) => setTimeout(done, 10));
  assert.equal(made.storage.kept.size, 0);
  await viewing.stop();
});
