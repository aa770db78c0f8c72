/** The player: one video in a dialog, and what the edge may say about it. */

import { clock, el, since } from './format.js';

const $ = (id) => document.getElementById(id);

/** `names` gives devices and profiles their names; `closed` is called when the lists may have changed. */
export function theatre({ playhead, catalogue, films, names, closed }) {
  const dialog = $('theatre');
  const video = $('video');
  let viewing = null;
  let film = null;

  /** Plays a film here; `evict` names streams that give way to it. */
  async function play(titleId, { evict } = {}) {
    film = catalogue.get(titleId);
    if (!film) return;
    quiet();
    $('theatre-title').textContent = film.title;
    $('theatre-over').textContent = film.series
      ? `${film.series.title} · Episode ${film.series.episode}`
      : `${film.year} · ${Math.floor(film.duration_ms / 60_000)} min`;
    $('resumed').textContent = '';
    if (!dialog.open) dialog.showModal();
    video.focus();
    viewing?.stop();
    video.src = films + film.file;
    const mine = (viewing = playhead.attach(video, {
      titleId: film.id,
      seriesId: film.series?.id,
      nextTitleId: film.next,
      creditsMs: film.credits_ms,
      evict,
    }));
    mine.addEventListener('resume', ({ detail }) => resumed(detail.position_ms));
    mine.addEventListener('streamlimit', ({ detail }) => refused(detail));
    mine.addEventListener('ended', ({ detail }) => ended(detail));
    const answer = await mine.ready;
    if (mine !== viewing || answer?.admission === 'refused') return;
    // The tab may be one that nobody has touched yet (?play=): then the viewer presses play.
    await video.play().catch(() => {});
    closed();
  }

  async function close() {
    const last = viewing;
    viewing = null;
    dialog.close();
    const stopped = last?.stop();
    video.pause();
    await stopped;
    if (viewing) return; // something else plays by now
    video.removeAttribute('src');
    video.load();
    closed();
  }

  function quiet() {
    for (const id of ['refusal', 'notice', 'next']) $(id).hidden = true;
  }

  function resumed(position) {
    const again = el(
      'button',
      { type: 'button', class: 'link', 'data-testid': 'start-over', onclick: () => (video.currentTime = 0) },
      'Start over',
    );
    $('resumed').replaceChildren(`Resumed at ${clock(position)}`, again);
  }

  function refused({ conflicts }) {
    const count = conflicts.length;
    $('refusal-title').textContent = `You are watching on ${count} ${count === 1 ? 'device' : 'devices'}`;
    $('conflicts').replaceChildren(
      ...conflicts.map((stream) =>
        el(
          'li',
          { 'data-testid': 'conflict', 'data-session-id': stream.session_id },
          el('div', {}, el('strong', {}, names.device(stream.device)), el('span', {}, about(stream))),
          el(
            'button',
            { type: 'button', 'data-testid': 'evict', onclick: () => play(film.id, { evict: [stream.session_id] }) },
            'Stop it and play here',
          ),
        ),
      ),
    );
    quiet();
    $('refusal').hidden = false;
    $('conflicts').querySelector('button')?.focus();
  }

  function about(stream) {
    const title = stream.title_id && (catalogue.get(stream.title_id)?.title ?? stream.title_id);
    const from = stream.started_at ? `since ${since(stream.started_at)}` : '';
    return [names.profile(stream.profile), title, from].filter(Boolean).join(' · ');
  }

  function ended({ reason, by }) {
    if (reason === 'replaced') return; // this device plays something newer; what was here may play on
    const where = by ? names.device(by) : 'another device';
    $('notice-text').textContent =
      reason === 'over_limit'
        ? 'This account is watching on more devices than it has streams.'
        : `Stopped from ${where}.`;
    quiet();
    $('notice').hidden = false;
    $('notice-go').focus();
  }

  function credits() {
    const next = film?.next && catalogue.get(film.next);
    const due = next && viewing && video.currentTime * 1000 >= film.credits_ms;
    if (due && $('next').hidden) $('next-title').textContent = next.title;
    $('next').hidden = !due || !$('refusal').hidden || !$('notice').hidden;
  }

  video.addEventListener('timeupdate', credits);
  video.addEventListener('ended', credits);
  video.addEventListener('play', () => ($('notice').hidden = true));
  $('next-go').addEventListener('click', () => play(film.next));
  $('notice-go').addEventListener('click', () => play(film.id));
  $('refusal-cancel').addEventListener('click', close);
  $('close').addEventListener('click', close);
  dialog.addEventListener('cancel', (event) => {
    event.preventDefault();
    close();
  });
  return { play };
}
