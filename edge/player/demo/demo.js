/** The demo page: a small streaming service that knows Playhead only through its SDK. */

import { Playhead, birth } from '/playhead.js';
import { poster } from './art.js';
import { ago, clock, el, show, since } from './format.js';
import { theatre } from './theatre.js';

const STREAMS_EVERY_MS = 3000;
const LISTS_EVERY_MS = 12_000;
const $ = (id) => document.getElementById(id);

const query = new URLSearchParams(location.search);
const [config, films] = await Promise.all(
  ['/demo/config.json', 'films.json'].map(async (url) => (await fetch(url)).json()),
);
const account = query.get('account') ?? config.account ?? 'demo';
const profiles = config.profiles ?? [
  { id: 'ada', name: 'Ada' },
  { id: 'ben', name: 'Ben' },
];
const devices = config.devices ?? [
  { id: 'tv', name: 'Living room TV' },
  { id: 'phone', name: 'Phone' },
];
const profile = chosen('profile', profiles);
const device = chosen('device', devices);
const catalogue = new Map(films.map((film) => [film.id, film]));
const named = (list) => (id) => list.find((one) => one.id === id)?.name ?? id ?? 'a device';
const names = { profile: named(profiles), device: named(devices) };

const playhead = new Playhead({
  edge: config.edge,
  profile: `${account}/${profile.id}`,
  async getToken() {
    const asked = {
      account,
      profile: profile.id,
      device: device.id,
      streams: query.get('streams') ?? config.streams ?? 2,
    };
    const answer = await fetch(`/demo/token?${new URLSearchParams(asked)}`, { cache: 'no-store' });
    if (!answer.ok) throw new Error(`token: ${answer.status}`);
    return answer.text();
  },
});
playhead.addEventListener('answer', ({ detail }) => status(detail));

const player = theatre({
  playhead,
  catalogue,
  films: config.films,
  names,
  closed: () => Promise.all([readLists(), readStreams()]),
});
drawChoices();
drawFilms();
await Promise.all([readStreams(), readLists()]);
document.body.dataset.ready = 'true';
every(STREAMS_EVERY_MS, readStreams);
every(LISTS_EVERY_MS, readLists);
for (const [target, type] of [
  [document, 'refresh'],
  [window, 'focus'],
  [window, 'online'],
])
  target.addEventListener(type, () => Promise.all([readLists(), readStreams()]));
if (query.has('play')) player.play(query.get('play'));

/** The one that the address names, else the one used last, else the first; it stays in the address for a reload. */
function chosen(what, list) {
  const kept = query.get(what) ?? localStorage.getItem(`demo.${what}`);
  const one = list.find(({ id }) => id === kept) ?? list[0];
  localStorage.setItem(`demo.${what}`, one.id);
  query.set(what, one.id);
  window.history.replaceState(null, '', `?${query}`);
  return one;
}

function choose(what, id) {
  query.set(what, id);
  query.delete('play');
  location.search = String(query);
}

function drawChoices() {
  $('profiles').replaceChildren(
    ...profiles.map((one) =>
      el(
        'button',
        {
          type: 'button',
          class: 'profile',
          'data-testid': 'profile',
          'data-profile': one.id,
          'aria-pressed': String(one === profile),
          style: `--tint: ${one.colour ?? '#8a8f9c'}`,
          onclick: () => choose('profile', one.id),
        },
        el('span', { class: 'face', 'aria-hidden': 'true' }, one.name[0]),
        el('span', { class: 'name' }, one.name),
      ),
    ),
  );
  $('device').replaceChildren(
    ...devices.map((one) => el('option', { value: one.id, selected: one === device }, one.name)),
  );
  $('device').addEventListener('change', () => choose('device', $('device').value));
  $('history-of').textContent = profile.name;
  document.title = `Playhead demo: ${profile.name} on ${device.name}`;
}

function drawFilms() {
  const play = (film, look, art, label) =>
    el('button', {
      type: 'button',
      class: look,
      'data-testid': 'play',
      'aria-label': `Play ${label}`,
      html: art,
      onclick: () => player.play(film.id),
    });
  const minutes = (film) => `${Math.floor(film.duration_ms / 60_000)} min`;
  const card = (film) =>
    el(
      'li',
      { class: 'film', 'data-testid': 'film', 'data-title-id': film.id },
      play(film, 'poster', poster(film), film.title),
      el('h3', {}, film.title),
      el('p', {}, `${film.year} · ${minutes(film)}`),
      el('p', { class: 'tagline' }, film.tagline),
    );
  const episode = (film) =>
    el(
      'li',
      { class: 'film episode', 'data-testid': 'film', 'data-title-id': film.id },
      play(
        film,
        'still',
        poster(film, { lettering: false }),
        `${film.series.title}, episode ${film.series.episode}, ${film.title}`,
      ),
      el(
        'div',
        {},
        el('p', {}, `Episode ${film.series.episode} · ${minutes(film)}`),
        el('h3', {}, film.title),
        el('p', { class: 'tagline' }, film.tagline),
      ),
    );
  $('films').replaceChildren(...films.filter((film) => !film.series).map(card));
  const series = new Map();
  for (const film of films.filter((film) => film.series))
    series.set(film.series.id, [...(series.get(film.series.id) ?? []), film]);
  $('series').replaceChildren(
    ...[...series].map(([id, episodes]) =>
      el(
        'section',
        { 'aria-labelledby': `series-${id}` },
        el(
          'h2',
          { id: `series-${id}` },
          episodes[0].series.title,
          el('span', { class: 'count' }, `Series · ${episodes.length} episodes`),
        ),
        el('ul', { class: 'episodes' }, ...episodes.map(episode)),
      ),
    ),
  );
}

async function readLists() {
  const [going, past] = await Promise.allSettled([playhead.continueWatching(), playhead.history({ limit: 12 })]);
  if (going.status === 'fulfilled') {
    const items = listOf(going.value).filter(({ title_id }) => catalogue.has(title_id));
    $('continue').hidden = !items.length;
    show($('continue-list'), items, (item) => item.title_id, drawContinue);
  }
  if (past.status === 'fulfilled') {
    const entries = listOf(past.value);
    // The time goes by, so it is part of what is drawn.
    const dated = entries.map((entry) => ({ ...entry, when: ago(entry.observed_at ?? birth(entry.session_id)) }));
    show($('history'), dated, (entry) => entry.session_id, drawEntry);
    $('history-empty').hidden = entries.length > 0;
    $('partial').hidden = !past.value?.partial;
  }
}

function drawContinue({ title_id, position_ms = 0, duration_ms, up_next }) {
  const film = catalogue.get(title_id);
  const duration = duration_ms ?? film.duration_ms;
  const left = Math.max(1, Math.round((duration - position_ms) / 60_000));
  const name = film.series ? `${film.series.title}: ${film.title}` : film.title;
  const label = up_next ? `Play the next episode, ${name}` : `Resume ${name} at ${clock(position_ms)}`;
  return el(
    'li',
    {
      class: 'going',
      'data-testid': 'continue-item',
      'data-title-id': title_id,
      'data-position-ms': position_ms,
      'data-up-next': String(!!up_next),
    },
    el(
      'button',
      {
        type: 'button',
        class: 'still',
        'data-testid': 'continue-play',
        'aria-label': label,
        onclick: () => player.play(title_id),
      },
      el('span', { class: 'still-art', html: poster(film, { lettering: false }) }),
      up_next
        ? el('span', { class: 'badge' }, 'Up next')
        : el(
            'span',
            { class: 'bar', 'aria-hidden': 'true' },
            el('span', { style: `width: ${Math.min(100, (100 * position_ms) / duration)}%` }),
          ),
    ),
    el(
      'div',
      { class: 'going-text' },
      el(
        'div',
        {},
        el('h3', {}, film.title),
        el(
          'p',
          {},
          up_next
            ? `${film.series?.title ?? ''} · Episode ${film.series?.episode ?? ''}`
            : `${clock(position_ms)} · ${left} min left`,
        ),
      ),
      el(
        'button',
        {
          type: 'button',
          class: 'small',
          'data-testid': 'hide',
          'aria-label': `Take ${name} off this list`,
          title: 'Take off this list',
          onclick: () => playhead.setHidden(title_id, true).then(readLists, ignore),
        },
        '×',
      ),
    ),
  );
}

function drawEntry({ session_id, title_id, device: on, position_ms, duration_ms, watched_ms, when }) {
  const film = catalogue.get(title_id);
  const done = Math.min(100, (100 * position_ms) / (duration_ms ?? film?.duration_ms ?? Infinity)) || 0;
  return el(
    'li',
    {
      'data-testid': 'history-item',
      'data-title-id': title_id,
      'data-session-id': session_id,
      'data-position-ms': position_ms,
      'data-watched-ms': watched_ms,
    },
    el('span', { class: 'thumb', html: film ? poster(film, { lettering: false }) : '' }),
    el(
      'div',
      {},
      el('h3', {}, film?.title ?? title_id),
      el('p', {}, [on && names.device(on), when].filter(Boolean).join(' · ')),
      el('p', { class: 'fine' }, `Watched ${clock(watched_ms)}, to ${clock(position_ms)}`),
      el('span', { class: 'bar', 'aria-hidden': 'true' }, el('span', { style: `width: ${done}%` })),
    ),
    el(
      'button',
      {
        type: 'button',
        class: 'small',
        'data-testid': 'delete',
        'aria-label': `Delete ${film?.title ?? title_id} from the history`,
        title: 'Delete from the history',
        onclick: () => playhead.deleteHistoryEntry(session_id).then(readLists, ignore),
      },
      '×',
    ),
  );
}

async function readStreams() {
  const answer = await playhead.streams().catch(ignore);
  if (!answer) return;
  const streams = listOf(answer);
  const limit = answer.limit ?? config.streams;
  $('stream-count').textContent = streams.length ? `${streams.length}${limit ? ` of ${limit}` : ''}` : '';
  $('streams-empty').hidden = streams.length > 0;
  show($('streams'), streams, (stream) => stream.session_id, drawStream);
  show(
    $('theatre-streams'),
    streams,
    (stream) => stream.session_id,
    (stream) =>
      el(
        'li',
        { 'data-testid': 'theatre-stream', class: stream.device === device.id ? 'here' : false },
        `${names.device(stream.device)} · ${names.profile(stream.profile)}`,
      ),
  );
}

function drawStream(stream) {
  const title = stream.title_id
    ? (catalogue.get(stream.title_id)?.title ?? stream.title_id)
    : 'A title of another profile';
  const at = stream.started_at ?? birth(stream.session_id);
  const here = stream.device === device.id;
  return el(
    'li',
    {
      'data-testid': 'stream',
      'data-session-id': stream.session_id,
      'data-device': stream.device,
      'data-profile': stream.profile,
      'data-title-id': stream.title_id,
    },
    el('span', { class: `pulse${stream.playing === false ? ' paused' : ''}`, 'aria-hidden': 'true' }),
    el(
      'div',
      {},
      el('h3', {}, names.device(stream.device), here && el('span', { class: 'here' }, 'this device')),
      el('p', {}, `${names.profile(stream.profile)} · ${title}`),
      el('p', { class: 'fine' }, `${stream.playing === false ? 'Paused, since' : 'Since'} ${since(at)}`),
    ),
    !here &&
      el(
        'button',
        {
          type: 'button',
          class: 'quiet',
          'data-testid': 'stop-stream',
          'aria-label': `Stop ${names.device(stream.device)}`,
          onclick: () => playhead.stopStream(stream.session_id).then(readStreams, ignore),
        },
        'Stop',
      ),
  );
}

/** The last write and the last read stand apart: polling would else hide what the viewer has just done. */
function status({ method, path, status: code, ms, code: problem }) {
  const target = method === 'GET' ? $('status-read') : $('status-write');
  const short = path.replace(/\?.*/, '').replace(/([0-9a-f]{8})-[0-9a-f-]{27}/, '$1…');
  const words = [`${method} ${short}`, code || 'no answer', `${ms} ms`, problem].filter(Boolean).join('  ');
  const tone = code >= 200 && code < 300 ? 'good' : code ? 'refused' : 'away';
  target.replaceChildren(el('span', { class: `dot ${tone}` }), words);
  Object.assign(target.dataset, { method, path, status: code, ms, code: problem ?? '' });
  if (method !== 'GET') $('theatre-status').replaceChildren(el('span', { class: `dot ${tone}` }), words);
}

/** A list answer's list, whatever its name. */
function listOf(answer) {
  return Object.values(answer ?? {}).find(Array.isArray) ?? [];
}

function every(ms, work) {
  setInterval(() => document.visibilityState === 'visible' && work(), ms);
}

/** The status line has said it already. */
function ignore() {}
