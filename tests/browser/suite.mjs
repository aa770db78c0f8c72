/**
 * The demo page in a real browser, against whatever runs at PLAYHEAD_DEMO_URL. `node --test tests/browser/suite.mjs`
 *
 * PLAYHEAD_DEMO_URL   where the demo page is served, as http://127.0.0.1:8080
 * PLAYHEAD_CHROMIUM   the browser; default /usr/bin/chromium
 * PLAYHEAD_SHOTS      a folder for pictures of the page, if wanted
 *
 * Each case has an account of its own, so that cases may run in any order and as often as one likes.
 */

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { after, afterEach, before, test } from 'node:test';
import { chromium } from 'playwright-core';

const BASE = process.env.PLAYHEAD_DEMO_URL ?? 'http://127.0.0.1:8080';
const SHOTS = process.env.PLAYHEAD_SHOTS;
const PHONE = { width: 375, height: 812 };
const RATE = 4; // films play faster, to save time: positions are content time all the same
const LOOPBACK = /^(127\.\d+\.\d+\.\d+|localhost|\[::1\])$/;

let browser;
let account;
const contexts = [];

before(async () => {
  if (SHOTS) mkdirSync(SHOTS, { recursive: true });
  browser = await chromium.launch({
    executablePath: process.env.PLAYHEAD_CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
});
after(() => browser?.close());
afterEach(async () => {
  await Promise.all(contexts.splice(0).map((context) => context.close()));
  account = undefined;
});

/** Opens the page as a device of its own. `page.faults` collects what should not happen on it. */
async function open(profile, device, { viewport = { width: 1280, height: 800 }, ...query } = {}) {
  account ??= `browser-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 7)}`;
  const context = await browser.newContext({ viewport });
  contexts.push(context);
  const page = await context.newPage();
  page.faults = [];
  page.on('console', (message) => message.type() === 'error' && page.faults.push(`console: ${message.text()}`));
  page.on('pageerror', (error) => page.faults.push(`exception: ${error.message}`));
  page.on('request', (request) => {
    const { protocol, hostname } = new URL(request.url());
    if (/^(https?|wss?):$/.test(protocol) && !LOOPBACK.test(hostname)) page.faults.push(`request: ${request.url()}`);
  });
  await page.goto(`${BASE}/demo/?${new URLSearchParams({ account, profile, device, ...query })}`);
  await ready(page);
  return page;
}

const ready = (page) => page.waitForSelector('body[data-ready]', { state: 'attached', timeout: 15_000 });
const id = (name, more = '') => `[data-testid=${name}]${more}`;
const of = (title) => `[data-title-id="${title}"]`;
const position = (page) => page.evaluate(() => document.querySelector('video').currentTime);
const shot = (page, name) => SHOTS && page.screenshot({ path: `${SHOTS}/${name}.png` });

/** Waits until the video has played to `seconds`. */
const playedTo = (page, seconds) =>
  page.waitForFunction((at) => document.querySelector('video').currentTime >= at, seconds, { timeout: 40_000 });

async function press(page, title) {
  await page.click(`${id('film', of(title))} ${id('play')}`);
  await page.waitForFunction(
    () => !document.querySelector('video').paused && document.querySelector('video').currentTime > 0,
    null,
    { timeout: 10_000 },
  );
}

/** Goes to `from` and plays on to `to`, in seconds; then at the ordinary speed, so that the stop is well known. */
async function watch(page, from, to) {
  await page.evaluate(
    ([at, rate]) => Object.assign(document.querySelector('video'), { currentTime: at, playbackRate: rate }),
    [from, RATE],
  );
  await playedTo(page, to);
  await page.evaluate(() => (document.querySelector('video').playbackRate = 1));
}

/** Where the page says that the viewer stopped, once `wanted` accepts it. */
async function continuesAt(page, title, wanted) {
  const item = id('continue-item', of(title));
  const until = Date.now() + 20_000;
  for (let at; Date.now() < until; await page.waitForTimeout(500)) {
    if (await page.locator(item).count()) at = Number(await page.getAttribute(item, 'data-position-ms'));
    if (at !== undefined && wanted(at)) return at;
    await page.evaluate(() => document.dispatchEvent(new Event('refresh')));
  }
  throw new Error(`${title} never came to the wanted place in continue watching`);
}

test('another device goes on where the first one stopped', async () => {
  const tv = await open('ada', 'tv');
  await press(tv, 'spiral-coast');
  await watch(tv, 180, 194);
  await tv.evaluate(() => document.querySelector('video').pause());
  const stopped = await position(tv);
  await shot(tv, 'a-tv');
  await tv.close({ runBeforeUnload: false });

  const phone = await open('ada', 'phone', { viewport: PHONE });
  assert.ok(Math.abs((await continuesAt(phone, 'spiral-coast', () => true)) / 1000 - stopped) < 1);
  // The first position that the viewer sees counts, not one after a while of playing.
  await phone.evaluate(() => {
    const video = document.querySelector('video');
    video.addEventListener('playing', () => (window.firstSeen ??= video.currentTime));
  });
  await press(phone, 'spiral-coast');
  const resumed = await (await phone.waitForFunction(() => window.firstSeen)).jsonValue();
  await shot(phone, 'a-phone');
  assert.ok(Math.abs(resumed - stopped) < 1, `stopped at ${stopped} s, went on at ${resumed} s`);
});

test('both devices see what is playing now, and see it go', async () => {
  const tv = await open('ada', 'tv');
  const laptop = await open('ben', 'laptop');
  await press(tv, 'long-dusk');
  await press(laptop, 'small-lives');
  const shows = (page, count) =>
    page.waitForFunction((n) => document.querySelectorAll('[data-testid=stream]').length === n, count, {
      timeout: 15_000,
    });
  await Promise.all([shows(tv, 2), shows(laptop, 2)]);
  const devices = await tv.$$eval(id('stream'), (items) => items.map((item) => item.dataset.device).sort());
  assert.deepEqual(devices, ['laptop', 'tv']);
  // A title is shown to its own profile only.
  assert.equal(await tv.getAttribute(id('stream', '[data-device=laptop]'), 'data-title-id'), null);
  assert.equal(await tv.getAttribute(id('stream', '[data-device=tv]'), 'data-title-id'), 'long-dusk');
  await shot(tv, 'b-both');
  await tv.close({ runBeforeUnload: false });
  await shows(laptop, 1);
  await laptop.keyboard.press('Escape');
  await shows(laptop, 0);
});

test('at the limit the page names the streams, and one can give way', async () => {
  const tv = await open('ada', 'tv', { streams: '1' });
  await press(tv, 'long-dusk');
  const phone = await open('ben', 'phone', { viewport: PHONE, streams: '1' });
  await phone.click(`${id('film', of('rule-thirty'))} ${id('play')}`);
  await phone.waitForSelector(id('conflict'));
  assert.match(await phone.textContent(id('refusal-title')), /1 device/);
  assert.equal(await phone.evaluate(() => document.querySelector('video').paused), true);
  await shot(phone, 'limit');
  await phone.click(id('evict'));
  await phone.waitForFunction(() => !document.querySelector('video').paused);
  // The one that gave way hears of it with its next heartbeat; pausing sends one at once.
  await tv.evaluate(() => document.querySelector('video').pause());
  await tv.waitForSelector(id('notice'), { timeout: 15_000 });
  await shot(tv, 'limit-evicted');
});

test('what was watched offline is known afterwards', async () => {
  const tv = await open('ada', 'tv');
  await press(tv, 'long-dusk');
  await watch(tv, 120, 122);
  await tv.evaluate(async () => {
    // The film itself must not need the network while it is away.
    const video = document.querySelector('video');
    while (!video.buffered.length || video.buffered.end(video.buffered.length - 1) < 200)
      await new Promise((done) => setTimeout(done, 100));
  });
  await tv.context().setOffline(true);
  await tv.evaluate(() => (document.querySelector('video').playbackRate = 4));
  await playedTo(tv, 165);
  await tv.evaluate(() => document.querySelector('video').pause());
  const stopped = await position(tv);
  await tv.waitForTimeout(1500);
  await tv.context().setOffline(false);
  await tv.keyboard.press('Escape');
  await continuesAt(tv, 'long-dusk', (at) => Math.abs(at / 1000 - stopped) < 1);
  const entry = id('history-item', of('long-dusk'));
  await tv.waitForFunction(
    (at) => Math.abs(document.querySelector(at.entry)?.dataset.positionMs / 1000 - at.stopped) < 1,
    { entry, stopped },
    { timeout: 20_000 },
  );
  // 42 s were played, however fast, and 120 s were skipped.
  const watched = Number(await tv.getAttribute(entry, 'data-watched-ms'));
  assert.ok(watched > 40_000 && watched < 55_000, `watched ${watched} ms`);
});

test('a reload keeps the heartbeats that were not sent', async () => {
  const tv = await open('ada', 'tv');
  await press(tv, 'small-lives');
  // The browser's own offline mode lets the last beat of a closing page through, so the page itself is cut off here.
  await tv.evaluate(() => (window.fetch = async () => Promise.reject(new TypeError('cut off'))));
  await watch(tv, 100, 114);
  await tv.evaluate(() => document.querySelector('video').pause());
  const stopped = await position(tv);
  await tv.waitForTimeout(500);
  const phone = await open('ada', 'phone');
  const reached = await phone.locator(id('history-item', of('small-lives'))).getAttribute('data-position-ms');
  assert.ok(Number(reached) < 60_000, 'the edge knows no more than the start');
  await tv.reload();
  await ready(tv);
  await continuesAt(tv, 'small-lives', (at) => Math.abs(at / 1000 - stopped) < 1);
});

test('the next episode is offered when one is watched', async () => {
  const tv = await open('kim', 'tv');
  await press(tv, 'night-ferry-1');
  await watch(tv, 331, 344); // the credits begin at 342 s
  await tv.waitForSelector(id('next'));
  await shot(tv, 'next');
  await tv.click(id('close'));
  await tv.waitForSelector(id('continue-item', `${of('night-ferry-2')}[data-up-next=true]`), { timeout: 20_000 });
});

test('the page makes no errors, and asks nobody outside this machine', async () => {
  const tv = await open('ada', 'tv');
  await press(tv, 'rule-thirty');
  await watch(tv, 60, 74);
  await tv.click(id('close'));
  await tv.waitForSelector(id('continue-item', of('rule-thirty')), { timeout: 20_000 });
  await tv.waitForTimeout(4000); // a round of polling
  await shot(tv, 'd-home');
  assert.deepEqual(tv.faults, []);
  assert.equal(await tv.getAttribute(id('status-write'), 'data-status'), '202');
});

test('a phone needs no sideways scrolling', async () => {
  const phone = await open('ada', 'phone', { viewport: PHONE });
  const wide = () => phone.evaluate(() => document.documentElement.scrollWidth);
  assert.equal(await wide(), PHONE.width);
  await shot(phone, 'e-phone');
  await press(phone, 'spiral-coast');
  const dialog = await phone.$eval(id('theatre'), (dialog) => [dialog.scrollWidth, dialog.clientWidth]);
  assert.equal(dialog[0], dialog[1]);
  await watch(phone, 60, 74);
  await phone.click(id('close'));
  await phone.waitForSelector(id('continue-item'), { timeout: 20_000 });
  assert.equal(await wide(), PHONE.width);
  await shot(phone, 'e-phone-home');
});

test('the keyboard suffices: Tab to a film, Enter plays, Escape closes', async () => {
  const tv = await open('ada', 'laptop');
  const focused = () => tv.evaluate(() => document.activeElement.closest('[data-testid=film]')?.dataset.titleId);
  for (let n = 0; n < 20 && (await focused()) !== 'spiral-coast'; n++) await tv.keyboard.press('Tab');
  assert.equal(await focused(), 'spiral-coast');
  await tv.keyboard.press('Enter');
  await tv.waitForFunction(
    () => document.querySelector('dialog').open && document.querySelector('video').currentTime > 0.2,
  );
  const before = await position(tv);
  await tv.keyboard.press('ArrowRight');
  await tv.waitForFunction((at) => document.querySelector('video').currentTime > at + 3, before, { timeout: 5000 });
  await tv.keyboard.press('Escape');
  await tv.waitForFunction(() => !document.querySelector('dialog').open);
  assert.equal(await focused(), 'spiral-coast', 'focus returns to where it was');
});
