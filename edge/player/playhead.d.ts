/** The device SDK of Playhead. All times are integer milliseconds; instants are since 1970, by the edge's clock. */

export type Progress = 'unstarted' | 'in_progress' | 'watched';
/** An id of 1 to 64 of `[A-Za-z0-9._:-]`. */
export type TitleId = string;
/** A UUID version 7, minted by the device. */
export type SessionId = string;

export interface PlayheadOptions {
  /** The edge's base URL, as `https://edge.example`. */
  edge: string;
  /**
   * The device's token. Kept in memory and asked for again, with `refresh: true`, when the edge refuses it; a page that
   * closes uses the one in memory.
   */
  getToken(options: { refresh: boolean }): Promise<string> | string;
  /** Names the queue of unsent heartbeats: one per account and profile, as `account/profile`. Default: `default`. */
  profile?: string;
  /** Where unsent heartbeats outlive the page. Default: IndexedDB. */
  storage?: BeatStorage;
  /** Instead of the page's `fetch`, and of its clocks: for tests and unusual devices. */
  fetch?: typeof fetch;
  clock?: Clock;
}

export interface AttachOptions {
  titleId: TitleId;
  seriesId?: TitleId;
  /** What "up next" shall offer when this title is watched. */
  nextTitleId?: TitleId;
  /** Where the credits begin: from there the title counts as watched. Default: 90 % of the duration. */
  creditsMs?: number;
  /** Instead of what the video element says; a live title has none. */
  durationMs?: number;
  /** `false`: start where the video stands. */
  resume?: boolean;
  /** Streams to stop so that this one has room: session ids from `streamlimit`. */
  evict?: SessionId[];
}

export interface ResumePoint {
  position_ms: number;
  duration_ms?: number | null;
  progress: Progress;
  moved_at: number;
  device?: string | null;
}

export interface Stream {
  session_id: SessionId;
  /** Only of the token's own profile, never of an incognito session. */
  title_id?: TitleId;
  profile: string;
  device: string;
  started_at: number;
  playing?: boolean;
}

export type Admission =
  | { admission: 'admitted'; resume: ResumePoint | null; streams: { limit: number; live: number } }
  /** The edge could not tell, or was not reached: play on. `resume` is then what this device had not yet sent. */
  | { admission: 'unverified'; resume: ResumePoint | null }
  | { admission: 'refused'; limit?: number; conflicts: Stream[] };

export interface ViewingEventMap {
  /** The session is open. */
  admitted: CustomEvent<Admission>;
  /** The video was put to the resume point. */
  resume: CustomEvent<{ position_ms: number }>;
  /** No stream is free. The SDK pauses the video, unless `preventDefault()`; attach again with `evict` to go on. */
  streamlimit: CustomEvent<{ limit?: number; conflicts: Stream[] }>;
  /**
   * The session's stream is gone; its heartbeats still count. For `evicted` and `stopped` the SDK pauses the video and
   * closes the session, unless `preventDefault()`; playing again then asks for a stream again.
   */
  ended: CustomEvent<{ reason: 'evicted' | 'stopped' | 'over_limit' | 'replaced'; by?: string | null }>;
}

/** One playing of a title in a video element. Ends with `stop`, or with the page. */
export class Viewing extends EventTarget {
  /** The current session's id; a new one after the title ended, the week was over, or the page came back. */
  readonly sessionId: SessionId;
  /** Resolves within about a second, whatever happens, and never rejects: then play. */
  readonly ready: Promise<Admission | undefined>;
  /** The viewer is done. Resolves when the last heartbeat was tried; what is unsent is kept. */
  stop(): Promise<void>;
  addEventListener<K extends keyof ViewingEventMap>(
    type: K,
    listener: (event: ViewingEventMap[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

export interface Answer {
  method: string;
  path: string;
  /** 0: no answer. */
  status: number;
  /** The stable code of a refusal. */
  code?: string;
  ms: number;
}

export interface ContinueItem extends ResumePoint {
  title_id: TitleId;
  series_id?: TitleId | null;
  up_next: boolean;
}

export interface HistoryEntry {
  session_id: SessionId;
  title_id: TitleId;
  series_id?: TitleId | null;
  device?: string;
  started_at: number;
  observed_at: number;
  /** What the device said last: `stop`, `pause`, … */
  event?: string;
  position_ms: number;
  duration_ms?: number | null;
  watched_ms: number;
  furthest_ms?: number;
}

/** Lists are newest first. `partial`: the origin is away, and this is what the edge holds. */
export interface MayBePartial {
  partial?: boolean;
}

/** Reads and commands throw a `Problem` where the edge refuses or cannot be reached. */
export class Playhead extends EventTarget {
  constructor(options: PlayheadOptions);
  /** Opens a session for what `video` plays; stops the viewing that it had. Call when the viewer presses play. */
  attach(video: HTMLVideoElement, options: AttachOptions): Viewing;
  /** Stops every viewing, so that another profile may follow on the same page. */
  close(): Promise<void>;

  resume(titleIds: TitleId[]): Promise<Record<TitleId, ResumePoint | null>>;
  continueWatching(query?: { limit?: number }): Promise<{ items: ContinueItem[] } & MayBePartial>;
  history(query?: {
    cursor?: string;
    limit?: number;
  }): Promise<{ entries: HistoryEntry[]; cursor: string | null } & MayBePartial>;
  streams(): Promise<{ streams: Stream[]; limit: number } & MayBePartial>;
  /** Ends one's own stream, or another of the account. */
  stopStream(sessionId: SessionId): Promise<void>;

  setWatched(titleId: TitleId, watched?: boolean): Promise<void>;
  /** Takes a title off continue watching, or puts it back. */
  setHidden(titleId: TitleId, hidden?: boolean): Promise<void>;
  forget(titleId: TitleId): Promise<void>;
  deleteHistoryEntry(sessionId: SessionId): Promise<void>;

  /** Every answer of the edge, refusals and failures too: for a status line, or for metrics. */
  addEventListener(type: 'answer', listener: (event: CustomEvent<Answer>) => void): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

export class Problem extends Error {
  /** 0: no answer. */
  readonly status: number;
  readonly code?: string;
  /** The problem document (RFC 9457). */
  readonly data?: Record<string, unknown>;
  readonly retryAfterMs?: number;
}

/** Keeps unsent heartbeats. `put` and `remove` are called as the page closes, so they should begin at once. */
export interface BeatStorage {
  put(key: string, entry: object): void;
  remove(keys: string[]): void;
  all(): Promise<[key: string, entry: object][]>;
}

/** The edge's time, from a monotonic and a wall clock in milliseconds. */
export class Clock {
  constructor(mono?: () => number, wall?: () => number);
  now(): number;
  readonly sure: boolean;
}

/** Mints a session id born at `ms`. */
export function uuidv7(ms: number): SessionId;
/** When a session was born. */
export function birth(id: SessionId): number;
