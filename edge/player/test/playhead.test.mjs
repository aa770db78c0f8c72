/** What needs no network: time, counters, thinning, re-anchoring, ids. */

import assert from 'node:assert/strict';
import test from 'node:test';
import { birth, Clock, Counters, reanchor, thin, uuidv7 } from '../playhead.js';

const NOW = 1_800_000_000_000;

/** A device: `mono` and `wall` are set by hand. */
function device({ mono = 1000, wall = NOW } = {}) {
  const hands = { mono, wall };
  hands.clock = new Clock(
    () => hands.mono,
    () => hands.wall,
  );
  hands.pass = (ms) => {
    hands.mono += ms;
    hands.wall += ms;
  };
  hands.answer = (serverTime, { rtt = 0, force } = {}) => {
    const mark = hands.clock.mark();
    hands.pass(rtt);
    hands.clock.anchor(serverTime, mark, force);
  };
  return hands;
}

test('a session id is a UUIDv7 that carries its birth', () => {
  const id = uuidv7(NOW + 0.7);
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(birth(id), NOW);
  assert.notEqual(id, uuidv7(NOW));
});

test('before any answer the wall clock serves, and is not trusted', () => {
  const { clock, pass } = device();
  pass(250);
  assert.equal(clock.now(), NOW + 250);
  assert.equal(clock.sure, false);
  assert.equal(clock.skew, 0);
});

test('an answer makes time sure, whatever the wall clock says', () => {
  const tv = device({ wall: NOW - 3_600_000 });
  tv.answer(NOW, { rtt: 40 });
  assert.equal(tv.clock.sure, true);
  assert.equal(tv.clock.now(), NOW + 20);
  tv.wall -= 50_000; // someone sets the clock back: the monotonic one goes on
  tv.mono += 100;
  assert.equal(tv.clock.now(), NOW + 120);
  assert.equal(tv.clock.sure, true);
});

test('a slow answer does not spoil a good anchor, unless the edge refuses our time', () => {
  const tv = device();
  tv.answer(NOW, { rtt: 10 });
  const good = tv.clock.now();
  tv.answer(NOW + 9000, { rtt: 4000 });
  assert.equal(tv.clock.now(), good + 4000);
  tv.answer(NOW + 9000, { rtt: 4000, force: true });
  assert.equal(tv.clock.now(), NOW + 9000 + 1000);
});

test('a monotonic clock that stops during sleep is noticed, and the next answer settles it', () => {
  const tv = device();
  tv.answer(NOW);
  tv.wall += 3_600_000; // an hour asleep
  assert.equal(tv.clock.now(), NOW + 3_600_000);
  assert.equal(tv.clock.sure, false);
  tv.answer(NOW + 3_600_500);
  assert.equal(tv.clock.sure, true);
  assert.equal(tv.clock.now(), NOW + 3_600_500);
});

test('an answer that slept on its way is no anchor', () => {
  const tv = device();
  const mark = tv.clock.mark();
  tv.wall += 60_000;
  tv.clock.anchor(NOW, mark);
  assert.equal(tv.clock.sure, false);
});

test('watched is content time played; furthest is reached by playing only', () => {
  const cases = [
    [
      'playing',
      [
        ['played', 4000],
        ['played', 9000],
      ],
      { watched: 9000, furthest: 9000, position: 9000 },
    ],
    [
      'seeking ahead marks nothing',
      [
        ['played', 4000],
        ['jumped', 90_000],
      ],
      { watched: 4000, furthest: 4000, position: 90_000 },
    ],
    [
      'playing after a seek',
      [
        ['jumped', 90_000],
        ['played', 95_000],
      ],
      { watched: 5000, furthest: 95_000, position: 95_000 },
    ],
    [
      'seeking back and seeing it again',
      [
        ['played', 8000],
        ['jumped', 2000],
        ['played', 5000],
      ],
      { watched: 11_000, furthest: 8000, position: 5000 },
    ],
    [
      'at double speed',
      [
        ['played', 2000, 3000],
        ['played', 4000, 3000],
      ],
      { watched: 4000, furthest: 4000, position: 4000 },
    ],
    [
      'a jump that no event told of',
      [
        ['played', 2000, 3000],
        ['played', 60_000, 3000],
      ],
      { watched: 2000, furthest: 2000, position: 60_000 },
    ],
    [
      'a step back without a seek',
      [
        ['played', 5000],
        ['played', 4900],
      ],
      { watched: 5000, furthest: 5000, position: 4900 },
    ],
  ];
  for (const [name, steps, expected] of cases) {
    const counters = new Counters();
    for (const [how, ...args] of steps) counters[how](...args);
    assert.deepEqual({ ...counters }, expected, name);
  }
});

test('a position that stands still has not moved', () => {
  const counters = new Counters(5000);
  assert.equal(counters.played(5000), false);
  assert.equal(counters.jumped(5000), false);
  assert.equal(counters.played(5001), true);
});

const beat = (session_id, event, at, more = {}) => ({
  key: `${session_id}.${at}`,
  ...more,
  beat: { session_id, event, observed_at: at, moved_at: at, ...more.beat },
});

test('thinning drops old progress first, never the newest of a session while others can go', () => {
  const queue = [
    beat('a', 'start', 1),
    beat('a', 'progress', 2),
    beat('a', 'progress', 3),
    beat('a', 'stop', 4),
    beat('b', 'start', 5),
    beat('b', 'progress', 6),
  ];
  const left = (kept) => thin(queue, kept).map(({ beat }) => beat.observed_at);
  assert.deepEqual(left(6), [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(left(5), [1, 3, 4, 5, 6]);
  assert.deepEqual(left(4), [1, 4, 5, 6]);
  assert.deepEqual(left(2), [4, 6]);
  assert.deepEqual(left(1), [6]);
});

test('what was stamped by a wrong clock shifts, and unanchored session ids are minted anew', () => {
  const late = 3_600_000; // the wall clock is an hour behind
  const id = uuidv7(NOW - late);
  const queue = [
    beat(id, 'start', NOW - late, { skew: 0, minted: 0 }),
    beat(id, 'progress', NOW - late + 10, { skew: 0, minted: 0 }),
    beat('answered-clock', 'progress', NOW - 5),
  ];
  const viewing = { sessionId: id, skew: 0, minted: 0, movedAt: NOW - late + 10, answered: 0, last: NOW - late + 10 };
  const changed = reanchor(queue, [viewing], late, true);
  assert.equal(changed.length, 2);
  assert.deepEqual(
    queue.map(({ beat }) => beat.observed_at),
    [NOW, NOW + 10, NOW - 5],
  );
  assert.equal(queue[0].beat.session_id, viewing.sessionId);
  assert.equal(queue[1].beat.session_id, viewing.sessionId);
  assert.notEqual(viewing.sessionId, id);
  assert.equal(birth(viewing.sessionId), NOW);
  assert.equal(viewing.movedAt, NOW + 10);
  assert.equal(viewing.last, NOW + 10);
  assert.deepEqual(reanchor(queue, [viewing], late + 3, true), [], 'once is enough');
});

test('a small shift keeps the session id', () => {
  const id = uuidv7(NOW);
  const queue = [beat(id, 'start', NOW, { skew: 0, minted: 0 })];
  reanchor(queue, [], 900, true);
  assert.equal(queue[0].beat.session_id, id);
  assert.equal(queue[0].beat.observed_at, NOW + 900);
});

test('stamps still rise when a clock that ran ahead is set right', () => {
  const queue = [beat('a', 'progress', NOW + 9000, { skew: 9000 }), beat('a', 'pause', NOW + 9001, { skew: 9000 })];
  const viewing = { sessionId: 'a', movedAt: NOW, answered: NOW + 3000, last: NOW + 9001 };
  reanchor(queue, [viewing], 0, true);
  assert.deepEqual(
    queue.map(({ beat }) => beat.observed_at),
    [NOW + 3001, NOW + 3002],
  );
  assert.equal(viewing.last, NOW + 3002);
});
