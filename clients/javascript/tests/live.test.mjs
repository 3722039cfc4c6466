// Against a real API with a worker behind it: FRESHET_URL=http://... node --test clients/javascript/tests/live.test.mjs
import assert from "node:assert/strict";
import { test } from "node:test";

import { Freshet } from "../freshet.js";

const url = process.env.FRESHET_URL;
const options = { storage: null, lingerMs: 20, baseMs: 50 };
const skip = url ? false : "FRESHET_URL is not set";

async function get(path) {
  const answer = await fetch(url + path);
  assert.equal(answer.status, 200, path);
  return answer.json();
}

async function counts(item, wanted) {
  for (const end = Date.now() + 20_000; ; await new Promise((next) => setTimeout(next, 100))) {
    const answer = await fetch(`${url}/v1/items/${item}`);
    const page = answer.ok ? await answer.json() : { counts: {} };
    if (Object.entries(wanted).every(([type, count]) => page.counts?.[type] === count)) return page.counts;
    assert.ok(Date.now() < end, `${item}: ${JSON.stringify(page.counts)}, not ${JSON.stringify(wanted)}`);
  }
}

test("events are counted once, also when they are sent again and by a beacon's content type", { skip }, async () => {
  const [user, item] = [`js-${Date.now()}`, `js-item-${Date.now()}`];
  const freshet = new Freshet(url, { ...options, userId: user });
  for (let n = 0; n < 100; n++) freshet.view(item);
  const event_id = freshet.click(item);
  freshet.like(item);
  assert.ok(await freshet.close());
  const again = JSON.stringify([{ type: "click", user_id: user, item_id: item, event_id }]);
  const beacon = await fetch(`${url}/v1/events`, { method: "POST", body: again, headers: { "content-type": "text/plain" } });
  assert.deepEqual(await beacon.json(), { accepted: 1, rejected: [] });
  const marker = new Freshet(url, { ...options, userId: user });
  marker.hide(item);
  assert.ok(await marker.close());
  const found = await counts(item, { hide: 1 });
  assert.deepEqual([found.view, found.click, found.like], [100, 1, 1]);
});

test("recommendations, and a click that names its list", { skip }, async () => {
  const freshet = new Freshet(url, { ...options, userId: `js-reader-${Date.now()}` });
  const { items, request_id } = await freshet.recommendations({ k: 3, context: { device: "phone" } });
  assert.equal(items.length, 3);
  assert.match(request_id, /^[0-9A-Z]{26}$/);
  freshet.click(items[1].item_id);
  assert.ok(await freshet.close());
});

test("a visitor without an id", { skip }, async () => {
  const freshet = new Freshet(url, options);
  const [first] = (await get("/v1/popular?k=1")).items;
  freshet.view(first.item_id);
  const { items, user_id } = await freshet.recommendations({ k: 3 });
  assert.equal(user_id, null);
  assert.ok(items.every((item) => item.item_id !== first.item_id), "what the page says was seen is not shown again");
});

test("an error names the field", { skip }, async () => {
  await assert.rejects(new Freshet(url, options).recommendations({ k: 0 }), (error) => error.problem.errors[0].field === "k");
});
