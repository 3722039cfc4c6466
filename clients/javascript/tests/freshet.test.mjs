// Run by tests/test_client_javascript.py, or by hand: node --test clients/javascript/tests/
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { afterEach, beforeEach, test } from "node:test";

import { Freshet, FreshetError } from "../freshet.js";

/** A server that answers as `script` says, then as an API that takes everything. */
let server, url, script, requests, arrived;

beforeEach(async () => {
  [script, requests, arrived] = [[], [], new Map()];
  server = createServer(async (request, response) => {
    let text = "";
    for await (const part of request) text += part;
    const body = text ? JSON.parse(text) : null;
    requests.push({ path: request.url, headers: request.headers, body, at: Date.now() });
    const reply = script.shift() ?? {};
    if (reply.hangUp) return request.socket.destroy();
    if (reply.ms) await new Promise((done) => setTimeout(done, reply.ms));
    const events = request.url === "/v1/events" && !reply.status ? body : [];
    const rejected = events.flatMap((event, index) => (reply.reject?.(event) ? [{ index, reason: reply.reason ?? "invalid", detail: "x" }] : []));
    events.filter((event) => !reply.reject?.(event)).forEach((event) => arrived.set(event.event_id, (arrived.get(event.event_id) ?? 0) + 1));
    response.writeHead(reply.status ?? 202, { "content-type": "application/json", ...reply.headers });
    response.end(reply.body ?? JSON.stringify({ accepted: events.length - rejected.length, rejected }));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  url = `http://127.0.0.1:${server.address().port}`;
});

afterEach(() => server.close() && server.closeAllConnections());

const quick = { userId: "42", storage: null, lingerMs: 5, baseMs: 10, capMs: 50 };

/** localStorage's interface over a Map. */
function memory(room = Infinity) {
  const kept = new Map();
  return {
    kept,
    get length() { return kept.size; },
    key: (at) => [...kept.keys()][at] ?? null,
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, text) => {
      if (text.length > room) throw new Error("QuotaExceededError");
      kept.set(key, text);
    },
    removeItem: (key) => void kept.delete(key),
  };
}

async function until(done, ms = 5000) {
  for (const end = Date.now() + ms; !done(); ) {
    assert.ok(Date.now() < end, `not within ${ms} ms: ${done}`);
    await new Promise((next) => setTimeout(next, 5));
  }
}

const LIST = { request_id: "01J", user_id: "42", items: [{ item_id: "a", rank: 1 }, { item_id: "b", rank: 2 }], degraded: null };
const list = () => ({ status: 200, body: JSON.stringify(LIST) });

test("a click says which list showed the item, and where", async () => {
  script.push(list());
  const freshet = new Freshet(`${url}/`, { ...quick, sessionId: "s", key: "secret" });
  const answer = await freshet.recommendations({ k: 2, surface: "home" });
  assert.deepEqual(answer, LIST);
  freshet.click("b");
  freshet.view("c", { context: { device: "phone" } });
  assert.ok(await freshet.close());
  const [asked, sent] = requests;
  assert.deepEqual(asked.body, { user_id: "42", session_id: "s", k: 2, surface: "home" });
  assert.equal(asked.headers.authorization, "Bearer secret");
  const [click, view] = sent.body;
  assert.deepEqual([click.type, click.item_id, click.user_id, click.session_id, click.request_id, click.position], ["click", "b", "42", "s", "01J", 1]);
  assert.deepEqual([view.request_id, view.context], [undefined, { device: "phone" }]);
  assert.match(click.event_id, /^[0-9a-f]{32}$/);
  assert.ok(Math.abs(click.timestamp - Date.now()) < 5000);
});

test("every type of event", async () => {
  const freshet = new Freshet(url, quick);
  for (const verb of ["view", "click", "like", "dislike", "addToCart", "purchase", "hide"]) freshet[verb]("a");
  freshet.rating("a", 4.5);
  freshet.hide("a", { undo: true });
  await freshet.close();
  assert.deepEqual(requests[0].body.map((event) => event.type), ["view", "click", "like", "dislike", "add_to_cart", "purchase", "hide", "rating", "hide"]);
  assert.equal(requests[0].body[7].value, 4.5);
  assert.equal(requests[0].body[8].undo, true);
});

test("a session's events are kept under its id, and go with the user who logs in", async () => {
  script.push(list(), { status: 202, body: '{"accepted": 1, "rejected": []}' }, list());
  const freshet = new Freshet(url, { ...quick, userId: null, sessionId: "s1" });
  await freshet.recommendations();
  freshet.view("a");
  await freshet.flush();
  freshet.userId = "42";
  await freshet.recommendations();
  freshet.view("b");
  await freshet.close();
  const [asked, sent, again, later] = requests.map(({ body }) => body);
  assert.deepEqual([asked.user_id, asked.session_id], [null, "s1"]);
  assert.deepEqual([sent[0].user_id, sent[0].session_id], ["session:s1", "s1"]);
  assert.deepEqual([again.user_id, again.session_id], ["42", "s1"]);
  assert.deepEqual([later[0].user_id, later[0].session_id], ["42", "s1"]);
});

test("without a user and a session nothing is sent, and lists go by the page's last items", async () => {
  script.push(list());
  const freshet = new Freshet(url, { ...quick, userId: null });
  assert.equal(freshet.view("a"), null);
  for (const item of ["b", "c", "d", "a"]) freshet.view(item);
  freshet.hide("c");
  freshet.like("d", { undo: true });
  await freshet.recommendations();
  await freshet.close();
  assert.deepEqual(requests.map(({ path, body }) => [path, body.recent_items]), [["/v1/recommendations", ["a", "b"]]]);
});

for (const [name, reply] of Object.entries({
  "503": { status: 503, body: "{}" },
  "401": { status: 401, body: "{}" },
  "a proxy's page": { status: 502, body: "<html>" },
  "garbage": { status: 200, body: "<html>" },
  "an answer about other events": { status: 202, body: '{"accepted": 7, "rejected": []}' },
  "half an answer": { status: 202, body: '{"accepted": 2}' },
  "no answer": { hangUp: true },
  "a late one": { ms: 1500, status: 202, body: '{"accepted": 2, "rejected": []}' },
})) {
  test(`events arrive once after ${name}`, async () => {
    script.push(reply, reply);
    const freshet = new Freshet(url, { ...quick, timeoutMs: 1000 });
    const ids = [freshet.view("a"), freshet.click("b")];
    await until(() => freshet.waiting === 0);
    assert.deepEqual([...arrived], ids.map((id) => [id, 1]));
    assert.equal(requests.length, 3);
    assert.deepEqual(requests[0].body, requests[2].body);
  });
}

test("Retry-After is heeded", async () => {
  script.push({ status: 429, body: "{}", headers: { "retry-after": "1" } });
  const freshet = new Freshet(url, quick);
  freshet.view("a");
  await until(() => freshet.waiting === 0);
  assert.ok(requests[1].at - requests[0].at >= 990);
});

test("rejected events are reported once and not sent again", async () => {
  script.push({ reject: (event) => event.item_id === "b" });
  const reports = [];
  const freshet = new Freshet(url, { ...quick, onRejected: (event, reason) => reports.push([event.item_id, reason]) && undefined.x });
  for (const item of ["a", "b", "c"]) freshet.view(item);
  assert.ok(await freshet.close());
  assert.deepEqual(reports, [["b", "invalid"]]);
  assert.equal(requests.length, 1);
});

test("a device whose clock is ahead gets the server's time", async () => {
  script.push({ reject: () => true, reason: "timestamp_in_future" });
  const freshet = new Freshet(url, quick);
  const id = freshet.view("a");
  assert.ok(await freshet.close());
  assert.equal(requests[1].body[0].timestamp, undefined);
  assert.equal(arrived.get(id), 1);
});

test("one event that spoils its request is found and reported", async () => {
  const reports = [];
  const freshet = new Freshet(url, { ...quick, onRejected: (event, reason) => reports.push([event.item_id, reason]) });
  for (let n = 0; n < 8; n++) freshet.view(`i${n}`);
  const bad = () => requests.at(-1).body.some((event) => event.item_id === "i5");
  const handler = server.listeners("request")[0];
  server.removeAllListeners("request");
  server.on("request", (request, response) => handler(request, Object.assign(response, {
    writeHead: ((real) => (status, headers) => real.call(response, bad() ? 422 : status, headers))(response.writeHead),
  })));
  await until(() => freshet.waiting === 0);
  assert.deepEqual(reports, [["i5", "refused"]]);
});

test("requests stay below what browsers send for a page that is left", async () => {
  const freshet = new Freshet(url, quick);
  for (let n = 0; n < 900; n++) freshet.view(`ü${n}`, { context: { text: "ü".repeat(50) } });
  assert.ok(await freshet.close());
  assert.equal(arrived.size, 900);
  for (const { body } of requests) assert.ok(Buffer.byteLength(JSON.stringify(body)) < 64 * 1024);
});

test("the queue is bounded; the oldest gives way", async () => {
  const reports = [];
  const freshet = new Freshet(url, { ...quick, lingerMs: 60_000, maxQueue: 3, onRejected: (event, reason) => reports.push([event.item_id, reason]) });
  for (const item of ["a", "b", "c", "d"]) freshet.view(item);
  assert.deepEqual([freshet.waiting, reports], [3, [["a", "buffer_full"]]]);
  await freshet.close();
});

test("what was not confirmed waits for the next visit, with the same ids", async () => {
  const storage = memory();
  script.push({ hangUp: true });
  const first = new Freshet(url, { ...quick, storage });
  const ids = [first.view("a"), first.view("b")];
  assert.equal(await first.close(), false);
  const second = new Freshet(url, { ...quick, storage });
  await until(() => second.waiting === 0);
  assert.deepEqual([...arrived], ids.map((id) => [id, 1]));
  assert.equal(storage.kept.size, 0);
});

test("what is too old for the server to know its id is reported", async () => {
  const storage = memory();
  const entry = (id, hours) => ({ at: Date.now() - hours * 3_600_000, event: { type: "view", item_id: id, event_id: id, user_id: "42" } });
  storage.setItem("freshet-queue:x", JSON.stringify([entry("old", 25), entry("new", 23), null, {}]));
  storage.setItem("freshet-queue:y", "{ torn");
  const reports = [];
  const freshet = new Freshet(url, { ...quick, storage, onRejected: (event, reason) => reports.push([event.item_id, reason]) });
  await until(() => freshet.waiting === 0);
  assert.deepEqual([...arrived.keys()], ["new"]);
  assert.deepEqual(reports, [["old", "too_old"]]);
});

test("the storage is bounded, and may be full or forbidden", async () => {
  const storage = memory();
  const freshet = new Freshet(url, { ...quick, lingerMs: 60_000, storage, storageBytes: 2000 });
  for (let n = 0; n < 100; n++) freshet.view(`i${n}`);
  const [kept] = storage.kept.values();
  assert.ok(kept.length < 3000);
  assert.equal(JSON.parse(kept).at(-1).event.item_id, "i99");
  for (const other of [memory(0), new Proxy({}, { get: () => { throw new Error("SecurityError"); } })]) {
    const alone = new Freshet(url, { ...quick, storage: other });
    alone.view("a");
    assert.ok(await alone.close());
  }
});

test("a visitor's id stays", () => {
  const storage = memory();
  assert.equal(Freshet.visitorId(storage), Freshet.visitorId(storage));
  assert.notEqual(Freshet.visitorId(memory()), Freshet.visitorId(memory()));
});

test("errors carry the problem document", async () => {
  script.push({ status: 422, body: '{"status": 422, "detail": "k: too large", "errors": [{"field": "k", "message": "too large"}]}' });
  await assert.rejects(new Freshet(url, quick).recommendations({ k: 1e6 }), (error) => {
    assert.ok(error instanceof FreshetError);
    return error.status === 422 && error.problem.errors[0].field === "k" && error.message === "k: too large";
  });
  await assert.rejects(new Freshet("http://127.0.0.1:1", quick).recommendations(), { name: "FreshetError", status: 0 });
  script.push({ status: 200, body: "{}" });
  await assert.rejects(new Freshet(url, quick).recommendations(), FreshetError);
});

/** A page, as far as the client looks at it. */
function page(t, beacon) {
  const [events, beacons] = [new EventTarget(), []];
  const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  const sendBeacon = (to, blob) => beacon && beacons.push({ to, blob }) > 0;
  const put = (name, value) => {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    t.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
  };
  put("document", document);
  put("navigator", { sendBeacon });
  put("addEventListener", events.addEventListener.bind(events));
  put("removeEventListener", events.removeEventListener.bind(events));
  return { beacons, document, leave: () => events.dispatchEvent(new Event("pagehide")) };
}

test("a page that is left sends a beacon, as text so that no preflight is needed", async (t) => {
  const { beacons, document, leave } = page(t, true);
  const storage = memory();
  const freshet = new Freshet(url, { ...quick, lingerMs: 60_000, storage });
  const id = freshet.view("a");
  document.dispatchEvent(new Event("visibilitychange"));
  assert.equal(beacons.length, 0, "still to be seen");
  leave();
  assert.equal(beacons[0].to, `${url}/v1/events`);
  assert.equal(beacons[0].blob.type, "text/plain");
  assert.equal(JSON.parse(await beacons[0].blob.text())[0].event_id, id);
  assert.equal(storage.kept.size, 1, "nobody says whether it arrived, so it waits on");
  document.visibilityState = "hidden";
  document.dispatchEvent(new Event("visibilitychange"));
  assert.equal(beacons.length, 2);
  await freshet.close();
  leave();
  assert.equal(beacons.length, 2, "closed");
});

for (const [name, options, beacon] of [["with a key", { key: "secret" }, true], ["that may send no beacon", {}, false]]) {
  test(`a page ${name} sends a request that outlives it`, async (t) => {
    const { beacons, leave } = page(t, beacon);
    const sent = t.mock.method(globalThis, "fetch");
    const freshet = new Freshet(url, { ...quick, ...options, lingerMs: 60_000 });
    freshet.view("a");
    leave();
    await until(() => freshet.waiting === 0);
    assert.equal(beacons.length, 0);
    assert.equal(arrived.size, 1);
    assert.equal(sent.mock.calls[0].arguments[1].keepalive, true);
    assert.equal(requests[0].headers.authorization, options.key && "Bearer secret");
    await freshet.close();
  });
}
