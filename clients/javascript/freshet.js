// @ts-check
/**
 * Freshet in pages and in Node 18 or later: recommendations, and events that survive bad networks. No dependencies.
 *
 *     const freshet = new Freshet("https://recommend.example.com", { userId: "42" });
 *     const { items } = await freshet.recommendations({ k: 10 });
 *     freshet.click(items[0].item_id); // says by itself which list showed it, and where
 *
 * Each event has an `event_id` from the start, so it may be sent again: within 24 hours the server counts it once. What was not confirmed
 * waits in memory and in `localStorage`, also for the next visit. See docs/clients.md.
 *
 * @typedef {"view"|"click"|"like"|"dislike"|"rating"|"add_to_cart"|"purchase"|"hide"} EventType
 * @typedef {{session_id?: string, request_id?: string, position?: number, value?: number, undo?: boolean, timestamp?: number,
 *   event_id?: string, context?: Record<string, string|number|boolean>}} About
 * @typedef {About & {type: EventType, user_id: string, item_id: string, event_id: string}} Event
 * @typedef {{at: number, event: Event}} Entry when it was noted, ms
 * @typedef {{item_id: string, rank: number, score: number, reason: string, title?: string, sources: Record<string, number>}} Item
 * @typedef {{request_id: string, user_id: string|null, items: Item[], degraded: string|null}} Recommendations
 * @typedef {(event: Event, reason: string, detail: string) => void} Report
 * @typedef {Pick<globalThis.Storage, "getItem"|"setItem"|"removeItem"|"key"|"length">} Store
 */

const BATCH_EVENTS = 500;
const BATCH_BYTES = 60_000; // browsers send at most 64 KiB for a page that is being left
const SHOWN = 1000;
const RECENT = 20;
const KEEP_MS = 24 * 3600 * 1000; // as long as the server knows an event_id
const PREFIX = "freshet-queue:";
const VISITOR = "freshet-visitor";
const REFUSED = [400, 413, 422];
const AGAINST = ["dislike", "hide"];
const encoder = new TextEncoder();

/** An answer that is not a success; `problem` is the problem document (RFC 9457), null where none came. */
export class FreshetError extends Error {
  /** @param {number} status 0: no answer came. @param {any} problem @param {number} retryAfter seconds @param {unknown} [cause] */
  constructor(status, problem, retryAfter, cause) {
    super(problem?.detail ?? problem?.title ?? (status ? `HTTP status ${status}` : "no answer"), { cause });
    [this.name, this.status, this.problem, this.retryAfter] = ["FreshetError", status, problem, retryAfter];
  }
}

const defaults = {
  /** @type {string|null} whom events and lists are about; null: the session alone */ userId: null,
  /** @type {string|null} the visit; null, and no user: nothing is sent */ sessionId: null,
  /** @type {string|null} readable by everybody who opens the page: give it the roles a page needs, no more */ key: null,
  lingerMs: 1000, // an event waits so long for company
  timeoutMs: 10_000, // of one attempt
  baseMs: 500, // pauses are drawn from 0 to base * 2^failures ("full jitter"),
  capMs: 60_000, // at most this
  maxQueue: 1000, // events that wait; the oldest gives way, and is reported
  storageBytes: 256 * 1024, // of them that outlive the page; the newest
  /** @type {Store|null|undefined} null: nothing outlives the page */ storage: undefined,
  /** @type {Report} hears of events that are not sent (again) */
  onRejected: (event, reason, detail) => console.warn(`freshet: ${event.type} of ${event.item_id} not sent, ${reason}: ${detail}`),
};

export class Freshet {
  /** @type {Entry[]} */ #queue = [];
  /** @type {Set<string>} ids of the batch that is on its way */ #flying = new Set();
  /** @type {Map<string, {request_id: string, position: number}>} */ #shown = new Map();
  /** @type {string[]} */ #recent = [];
  /** @type {Promise<void>|null} */ #sending = null;
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #timer = undefined;
  #failures = 0;
  #most = BATCH_EVENTS;
  #slot = PREFIX + randomId();
  #leaving = () => (globalThis.document?.visibilityState === "visible" ? undefined : this.#leave());

  /** @param {string} url of the API @param {Partial<typeof defaults>} [options] */
  constructor(url, options = {}) {
    this.url = url.replace(/\/+$/, "");
    this.options = { ...defaults, ...options };
    [this.userId, this.sessionId] = [this.options.userId, this.options.sessionId]; // change them when somebody logs in or out
    this.store = this.options.storage === undefined ? quietly(() => globalThis.localStorage) ?? null : this.options.storage;
    this.#adopt();
    globalThis.document?.addEventListener("visibilitychange", this.#leaving);
    globalThis.addEventListener?.("pagehide", this.#leave);
    if (this.#queue.length) this.#schedule(0);
  }

  /** A random id for this browser, kept in its storage. Ask for consent where the law wants it. @param {Store|null} [store] */
  static visitorId(store = quietly(() => globalThis.localStorage)) {
    const id = quietly(() => store?.getItem(VISITOR)) ?? `visitor-${randomId()}`;
    quietly(() => store?.setItem(VISITOR, id));
    return id;
  }

  /** How many events wait or are on their way. */
  get waiting() { return this.#queue.length; }

  /**
   * What to show next: after what the user and the session did; without either, after the last items of this page's events.
   * @param {{k?: number, surface?: string, filter?: string, diversity?: number, explore?: number, explain?: boolean,
   *   candidates?: string[], constraints?: object, context?: Record<string, string|number|boolean>, recent_items?: string[]}} [query]
   * @returns {Promise<Recommendations>} @throws {FreshetError}
   */
  async recommendations(query = {}) {
    const whom = this.#visitor() === null ? { recent_items: this.#recent } : { user_id: this.userId, session_id: this.sessionId };
    const body = JSON.stringify({ ...whom, ...query });
    const answer = /** @type {Recommendations} */ (await this.#post("/v1/recommendations", body));
    if (!Array.isArray(answer?.items)) throw new FreshetError(200, { title: "not an answer of Freshet" }, 0);
    answer.items.forEach((item, position) => {
      this.#shown.delete(item.item_id);
      this.#shown.set(item.item_id, { request_id: answer.request_id, position });
    });
    for (const old of [...this.#shown.keys()].slice(0, -SHOWN)) this.#shown.delete(old);
    return answer;
  }

  /**
   * Note an event; it is sent in the background.
   * @param {EventType} type @param {string} itemId @param {About} [about]
   * @returns {string|null} its event_id; null: there is neither `userId` nor `sessionId`, so nothing is sent
   */
  track(type, itemId, about = {}) {
    const [visitor, { maxQueue, lingerMs }] = [this.#visitor(), this.options];
    const others = this.#recent.filter((one) => one !== itemId);
    this.#recent = AGAINST.includes(type) || about.undo ? others : [itemId, ...others].slice(0, RECENT);
    if (visitor === null) return null;
    const session = this.sessionId === null ? {} : { session_id: this.sessionId };
    const ids = { type, user_id: visitor, item_id: itemId, event_id: randomId(), timestamp: Date.now() };
    const event = /** @type {Event} */ ({ ...ids, ...session, ...this.#shown.get(itemId), ...about });
    this.#queue.push({ at: Date.now(), event });
    this.#giveUp(this.#queue.slice(0, -maxQueue), "buffer_full", `${maxQueue} others waited`);
    this.#save();
    if (this.#timer === undefined) this.#schedule(lingerMs);
    return event.event_id;
  }

  /** @param {string} itemId @param {About} [about] */ view(itemId, about) { return this.track("view", itemId, about); }
  /** @param {string} itemId @param {About} [about] */ click(itemId, about) { return this.track("click", itemId, about); }
  /** @param {string} itemId @param {About} [about] */ like(itemId, about) { return this.track("like", itemId, about); }
  /** @param {string} itemId @param {About} [about] */ dislike(itemId, about) { return this.track("dislike", itemId, about); }
  /** @param {string} itemId @param {number} value @param {About} [about] */
  rating(itemId, value, about) { return this.track("rating", itemId, { ...about, value }); }
  /** @param {string} itemId @param {About} [about] */ addToCart(itemId, about) { return this.track("add_to_cart", itemId, about); }
  /** @param {string} itemId @param {About} [about] */ purchase(itemId, about) { return this.track("purchase", itemId, about); }
  /** @param {string} itemId @param {About} [about] */ hide(itemId, about) { return this.track("hide", itemId, about); }

  /** Send what waits now. @returns {Promise<boolean>} whether all of it was taken or reported */
  async flush() {
    this.#sending ??= this.#sendAll().finally(() => (this.#sending = null));
    await this.#sending;
    return this.#queue.length === 0;
  }

  /** Send what waits and stop; what cannot be sent stays in the storage. @returns {Promise<boolean>} as `flush` */
  async close() {
    globalThis.document?.removeEventListener("visibilitychange", this.#leaving);
    globalThis.removeEventListener?.("pagehide", this.#leave);
    const done = await this.flush();
    clearTimeout(this.#timer);
    return done;
  }

  /** Under which id events are kept, see docs/visitors.md. */
  #visitor() { return this.userId ?? (this.sessionId === null ? null : `session:${this.sessionId}`); }

  async #sendAll() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const oldest = Date.now() - KEEP_MS;
    this.#giveUp(this.#queue.filter(({ at }) => at < oldest), "too_old", "not handed over within 24 hours");
    for (let batch; (batch = this.#next(this.#queue)).length; ) {
      const wait = await this.#sendBatch(batch);
      if (wait !== null) return this.#schedule(wait);
    }
  }

  /** @param {Entry[]} queue @returns {Event[]} the first ones, as many as go into one request */
  #next(queue) {
    let [count, size] = [0, 0];
    while (count < Math.min(this.#most, queue.length) && (size += bytes(queue[count].event)) <= BATCH_BYTES) count++;
    return queue.slice(0, count || 1).map(({ event }) => event);
  }

  /** @param {Event[]} batch @returns {Promise<number|null>} ms to wait before the next attempt; null: go on */
  async #sendBatch(batch) {
    this.#flying = new Set(batch.map((event) => event.event_id));
    try {
      const { accepted, rejected } = await this.#post("/v1/events", JSON.stringify(batch));
      if (accepted + rejected.length !== batch.length) throw new FreshetError(202, { title: "not an answer of Freshet" }, 0);
      this.#settle(batch, rejected);
      [this.#failures, this.#most] = [0, BATCH_EVENTS];
      return null;
    } catch (error) {
      const { status, retryAfter, message } = /** @type {FreshetError} */ (error);
      if (!REFUSED.includes(status)) return this.#pause(retryAfter);
      this.#most = batch.length >> 1 || BATCH_EVENTS; // one event spoils the request: halves find it
      if (batch.length === 1) this.#settle(batch, [{ index: 0, reason: "refused", detail: message }]);
      return null;
    } finally {
      this.#flying.clear();
    }
  }

  /** @param {Event[]} batch @param {{index: number, reason: string, detail: string}[]} rejected */
  #settle(batch, rejected) {
    const done = new Set(batch.map((event) => event.event_id));
    for (const { index, reason, detail } of rejected) {
      const event = batch[index];
      if (reason === "timestamp_in_future" && event.timestamp) { // the device's clock is wrong: the server's time is nearer
        delete event.timestamp;
        done.delete(event.event_id);
      } else quietly(() => this.options.onRejected(event, reason, detail));
    }
    this.#queue = this.#queue.filter(({ event }) => !done.has(event.event_id));
    this.#save();
  }

  /** @param {Entry[]} entries @param {string} reason @param {string} detail */
  #giveUp(entries, reason, detail) {
    for (const { event } of entries) quietly(() => this.options.onRejected(event, reason, detail));
    this.#queue = this.#queue.filter((entry) => !entries.includes(entry));
  }

  /** @param {number} [retryAfter] seconds */
  #pause(retryAfter = 0) {
    const { baseMs, capMs } = this.options;
    return Math.min(retryAfter, 3600) * 1000 + Math.random() * Math.min(capMs, baseMs * 2 ** this.#failures++);
  }

  /** @param {number} ms */
  #schedule(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.flush(), ms);
    /** @type {any} */ (this.#timer).unref?.(); // Node: does not keep the program alive
  }

  /** The page may never be seen again: send what is not on its way. It waits on, as nobody will tell whether it arrived. */
  #leave = () => {
    let rest = this.#queue.filter(({ event }) => !this.#flying.has(event.event_id));
    for (let batch; rest.length; rest = rest.slice(batch.length)) {
      batch = this.#next(rest);
      if (this.options.key || !this.#beacon(JSON.stringify(batch))) void this.#sendBatch(batch);
    }
  };

  /** A beacon has no Authorization header. As text/plain it needs no preflight, for which there is no time; the API reads it as JSON.
   * @param {string} body @returns {boolean|undefined} whether the browser took it */
  #beacon(body) {
    return globalThis.navigator?.sendBeacon?.(`${this.url}/v1/events`, new Blob([body], { type: "text/plain" }));
  }

  /** @param {string} path @param {string} body @returns {Promise<any>} @throws {FreshetError} */
  async #post(path, body) {
    const { key, timeoutMs } = this.options;
    const headers = { "content-type": "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}) };
    const signal = AbortSignal.timeout(timeoutMs);
    const keepalive = body.length <= BATCH_BYTES; // survives the page; larger ones would be refused
    const lost = (/** @type {unknown} */ error) => { throw new FreshetError(0, null, 0, error); };
    const response = await fetch(this.url + path, { method: "POST", headers, body, keepalive, signal, credentials: "omit" }).catch(lost);
    const text = await response.text().catch(lost);
    const document = quietly(() => JSON.parse(text));
    if (response.ok && document !== null) return document;
    throw new FreshetError(response.status, document, Number(response.headers.get("retry-after")) || 0);
  }

  #save() {
    let [first, size] = [this.#queue.length, 0];
    while (first > 0 && (size += bytes(this.#queue[first - 1].event)) <= this.options.storageBytes) first--;
    const newest = this.#queue.slice(first);
    quietly(() => (newest.length ? this.store?.setItem(this.#slot, JSON.stringify(newest)) : this.store?.removeItem(this.#slot)));
  }

  /** Take over what earlier pages left. One that is still open sends it too: the server counts it once. */
  #adopt() {
    const { store } = this;
    const slots = quietly(() => Array.from({ length: store?.length ?? 0 }, (_, at) => store?.key(at) ?? "")) ?? [];
    for (const slot of slots.filter((key) => key.startsWith(PREFIX))) {
      const left = quietly(() => JSON.parse(store?.getItem(slot) ?? ""));
      quietly(() => store?.removeItem(slot));
      if (Array.isArray(left)) this.#queue.push(...left.filter((entry) => entry?.event?.event_id));
    }
    this.#queue = this.#queue.slice(-this.options.maxQueue);
    this.#save();
  }
}

/** @param {Event} event */
const bytes = (event) => encoder.encode(JSON.stringify(event)).length + 1;

function randomId() {
  const bytes = new Uint8Array(16);
  if (globalThis.crypto) crypto.getRandomValues(bytes); // Node 18 has none
  else bytes.forEach((_, at) => (bytes[at] = Math.random() * 256));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What the action returns; null where it fails. A browser may refuse its storage or have no room: events then wait in memory only.
 * @template T @param {() => T} action @returns {T|null} */
function quietly(action) {
  try { return action(); } catch { return null; }
}
