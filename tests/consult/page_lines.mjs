// The page's half of raw frames, envelopes and batches, run by Node.js: the vectors are those of the Python side.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

const { parseBlock, unpack, BlockBroken } = await import(`${process.env.PAGE_MODULES}/wire.js`);
const { StreamStore } = await import(`${process.env.PAGE_MODULES}/store.js`);
const vectors = JSON.parse(readFileSync(process.env.VECTORS, "utf8"));

function buffer(hex) {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)).buffer;
}

const plain = (values) => Array.from(values, (value) => (Number.isNaN(value) ? null : value));

for (const vector of vectors.raw) {
  test(`raw ${vector.name}`, () => {
    const block = parseBlock(buffer(vector.hex));
    assert.equal(block.kind, "raw");
    assert.equal(block.seq, vector.seq);
    assert.deepEqual(
      block.frames.map((frame) => ({
        t_us: frame.tUs,
        id: frame.id,
        extended: frame.extended,
        fd: frame.fd,
        remote: frame.remote,
        error: frame.error,
        sent: frame.sent,
        data: Buffer.from(frame.data).toString("hex"),
      })),
      vector.frames,
    );
  });
}

for (const vector of vectors.envelopes) {
  test(`envelope ${vector.name}`, () => {
    const envelope = parseBlock(buffer(vector.hex));
    assert.equal(envelope.kind, "envelope");
    assert.deepEqual([envelope.first, envelope.seq, envelope.tUs], [vector.first, vector.seq, vector.t_us]);
    assert.deepEqual(plain(envelope.low), vector.low);
    assert.deepEqual(plain(envelope.high), vector.high);
  });
}

for (const vector of vectors.batches) {
  test(`batch ${vector.name}`, async () => {
    const found = await unpack(parseBlock(buffer(vector.hex)));
    const blocks = vector.blocks.map((hex) => parseBlock(buffer(hex)));
    assert.equal(found.length, blocks.length);
    found.forEach((block, i) => {
      assert.deepEqual({ ...block, values: plain(block.values) }, { ...blocks[i], values: plain(blocks[i].values) });
    });
  });
}

for (const vector of vectors.broken_kinds) {
  // What stands behind the deflated bytes is refused by Chromium's DecompressionStream and ignored by Node.js 20's.
  if (vector.name === "batch-behind") continue;
  test(`broken ${vector.name}`, async () => {
    await assert.rejects(async () => {
      const parsed = parseBlock(buffer(vector.hex));
      if (parsed.kind === "batch") await unpack(parsed);
    }, BlockBroken);
  });
}

const signals = [{ name: "a", unit: "V" }];
const block = (seq, value = seq) => ({ kind: "samples", stream: 1, epoch: 5, seq, tUs: seq * 50_000, values: Float32Array.of(value) });
const envelope = (first, seq, low, high) => ({ kind: "envelope", stream: 1, epoch: 5, first, seq, tUs: seq * 50_000, low: Float32Array.of(low), high: Float32Array.of(high) });

test("an envelope is drawn from lowest to highest until its blocks come", () => {
  const store = new StreamStore(1, 5, signals, 0, 0);
  for (const seq of [0, 1]) store.add(block(seq), "wss");
  assert.ok(store.addEnvelope(envelope(2, 5, -3, 9)));
  assert.equal(store.newestShown, 5);
  assert.equal(store.newestTime(), 0.25);
  assert.equal(store.latest(0), 3);
  assert.deepEqual(store.window([0], -1, 99)[1], [0, 1, -3, 9]);
  for (const seq of [2, 3, 4, 5]) store.add(block(seq), "wss");
  assert.deepEqual(store.window([0], -1, 99)[1], [0, 1, 2, 3, 4, 5]);
  assert.equal(store.latest(0), 5);
  assert.ok(!store.addEnvelope(envelope(2, 5, -3, 9)), "it tells nothing new");
});

test("what no envelope and no block tells stays a gap, and is asked for", () => {
  const store = new StreamStore(1, 5, signals, 0, 0);
  store.add(block(0), "wss");
  store.addEnvelope(envelope(4, 6, 1, 2));
  assert.deepEqual(store.window([0], -1, 99)[1], [0, 1, 2], "nothing is drawn for 1 to 3 yet");
  store.beat(7);
  store.beat(7);
  assert.deepEqual(store.nextWant(0, 100), { first: 1, last: 6 }, "an envelope is no truth");
  store.add(block(6), "wss");
  assert.equal(store.missing(), 5);
});

test("times never run backwards in what is drawn", () => {
  const store = new StreamStore(1, 5, signals, 0, 0);
  store.addEnvelope(envelope(0, 5, 1, 2));
  store.add(block(3), "wss");
  const times = store.window([0], -1, 99)[0];
  assert.ok(times.every((t, i) => i === 0 || t > times[i - 1]));
});

test("a raw stream keeps its newest blocks", () => {
  const store = new StreamStore(2, 5, [], 0, 0);
  for (let seq = 0; seq < 4000; seq++) store.add({ kind: "raw", stream: 2, epoch: 5, seq, tUs: seq, frames: [] }, "wss");
  assert.ok(store.raw.length <= 3000);
  assert.equal(store.raw.at(-1).seq, 3999);
});
