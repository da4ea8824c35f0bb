// The page's parser and store, run by Node.js: the vectors are those of the Python side.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

const { parseBlock, BlockBroken } = await import(`${process.env.PAGE_MODULES}/wire.js`);
const { StreamStore } = await import(`${process.env.PAGE_MODULES}/store.js`);
const vectors = JSON.parse(readFileSync(process.env.VECTORS, "utf8"));

function buffer(hex) {
  const bytes = Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  return bytes.buffer;
}

for (const vector of vectors.blocks) {
  test(`vector ${vector.name}`, () => {
    const block = parseBlock(buffer(vector.hex));
    assert.equal(block.kind, "samples");
    assert.equal(block.stream, vector.stream);
    assert.equal(block.epoch, vector.epoch);
    assert.equal(block.seq, vector.seq);
    assert.equal(block.tUs, vector.t_us);
    assert.deepEqual(Array.from(block.values, (value) => (Number.isNaN(value) ? null : value)), vector.values);
  });
}

for (const vector of vectors.broken) {
  // A beat is a message of its own; the page takes it, the relay's parser of blocks does not.
  const parse = () => parseBlock(buffer(vector.hex));
  test(`broken ${vector.name}`, () => (vector.name === "beat" ? assert.equal(parse().kind, "beat") : assert.throws(parse, BlockBroken)));
}

const signals = [{ name: "a", unit: "V" }, { name: "b", unit: "A" }];
const block = (seq, a = seq, b = -seq) => ({ kind: "samples", stream: 1, epoch: 5, seq, tUs: seq * 50_000, values: Float32Array.of(a, b) });
const store = (first = 0, next = 0) => new StreamStore(1, 5, signals, first, next);

test("blocks of two carriers, out of order and twice, make one curve", () => {
  const one = store();
  for (const seq of [0, 3, 1, 3, 2]) one.add(block(seq), seq % 2 ? "rtc" : "wss");
  assert.deepEqual(one.window([0], -1, 99)[1], [0, 1, 2, 3]);
  assert.equal(one.counts.repeated, 1);
  assert.equal(one.counts.rtc, 2);
  assert.equal(one.counts.wss, 2);
});

test("a hole is asked for once it is due, newest first, and drawn as a gap until it comes", () => {
  const one = store();
  for (const seq of [0, 1, 5, 6]) one.add(block(seq), "rtc");
  one.beat(7);
  assert.equal(one.nextWant(0, 100), null, "it may still be under way");
  one.beat(9);
  assert.deepEqual(one.nextWant(10, 100), { first: 2, last: 4 });
  assert.equal(one.nextWant(20, 100), null, "asked for already");
  assert.deepEqual(one.nextWant(9000, 2), { first: 3, last: 4 }, "asked again, no more than the limit");
  assert.deepEqual(one.window([0], -1, 99)[1], [0, 1, null, 5, 6]);
  for (const seq of [2, 3, 4]) one.add(block(seq), "wss");
  assert.equal(one.counts.filled, 3);
  assert.deepEqual(one.window([0], -1, 99)[1], [0, 1, 2, 3, 4, 5, 6]);
});

test("what the service has not either stays a gap and is not asked for again", () => {
  const one = store();
  for (const seq of [0, 3]) one.add(block(seq), "rtc");
  one.beat(4);
  one.beat(4);
  assert.deepEqual(one.nextWant(0, 100), { first: 1, last: 2 });
  one.markGone(1, 2);
  assert.equal(one.nextWant(60_000, 100), null);
  assert.equal(one.counts.gone, 2);
  assert.deepEqual(one.window([0], -1, 99)[1], [0, null, 3]);
});

test("a late joiner asks for the two minutes that the ring holds", () => {
  const one = store(600, 3000);
  const asked = [];
  for (let want; (want = one.nextWant(0, 600)); ) asked.push(want);
  assert.deepEqual(asked, [2400, 1800, 1200, 600].map((first) => ({ first, last: first + 599 })));
});

test("a value that is not there is no number and no zero", () => {
  const one = store();
  one.add(block(0, NaN, 1), "rtc");
  assert.ok(Number.isNaN(one.latest(0)));
  assert.deepEqual(one.window([0, 1], -1, 99), [[0], [null], [1]]);
});
