// The call's modules that draw nothing, run by Node.js: what a line bears, and lines on frozen pictures.
import assert from "node:assert/strict";
import test from "node:test";

const load = (name) => import(`${process.env.PAGE_MODULES}/${name}.js`);
const { Ladder, LineMeter, RUNGS, judge, shareOf } = await load("callquality");
const { StillList, colourFor, drawStrokes, thinned } = await load("strokes");
const { troubleOf } = await load("camera");

// -- the line --------------------------------------------------------------------------------------------------------

const sample = (atMs, more = {}) => ({ atMs, loss: 0, rttMs: 40, outKbps: 3000, frozen: 0, dataBehind: false, ...more });
const THIN = { loss: 0.15, outKbps: 90 };

/** Feeds one measurement a second; returns the rungs, one per second. */
function stood(ladder, fromS, toS, more) {
  const rungs = [];
  for (let s = fromS; s < toS; s++) {
    ladder.take(sample(s * 1000, typeof more === "function" ? more(s) : more));
    rungs.push(ladder.at);
  }
  return rungs;
}

test("a good line stays on top, and a bad second changes nothing", () => {
  const ladder = new Ladder();
  assert.deepEqual(new Set(stood(ladder, 0, 60, (s) => (s % 7 === 0 ? THIN : {}))), new Set([0]));
});

test("a line that stays thin goes down rung by rung: smaller, smaller, voice, letters", () => {
  const ladder = new Ladder();
  const rungs = stood(ladder, 0, 60, THIN);
  assert.deepEqual([...new Set(rungs)], [0, 1, 2, 3]);
  assert.equal(ladder.rung.level, "voice");
  assert.ok(rungs.indexOf(1) >= 3, "not before it stayed so");
  assert.ok(rungs.indexOf(3) <= 25, "and in less than half a minute");
  stood(ladder, 60, 120, { loss: 0.4 });
  assert.equal(ladder.rung.level, "chat", "what loses two words of five is no talk");
});

test("a line that bears nothing of a picture goes to the voice at once", () => {
  const ladder = new Ladder();
  assert.equal(stood(ladder, 0, 5, { outKbps: 40 }).at(-1), 3);
  assert.equal(ladder.rung.level, "voice");
});

test("a voice bears what a picture does not", () => {
  const [top] = RUNGS;
  const voice = RUNGS.find((rung) => rung.level === "voice");
  assert.equal(judge(sample(0, { loss: 0.15 }), top), "bad");
  assert.equal(judge(sample(0, { loss: 0.15 }), voice), "fair");
  assert.equal(judge(sample(0, { rttMs: 1500 }), top), "bad");
  assert.equal(judge(sample(0, { rttMs: 1500 }), voice), "fair");
  assert.equal(judge(sample(0, { outKbps: 30 }), voice), "good", "how much could go out says nothing while nothing does");
});

test("the car's samples come first: pictures make way for them, the voice stays", () => {
  const ladder = new Ladder();
  stood(ladder, 0, 25, { dataBehind: true });
  assert.equal(ladder.rung.level, "voice");
  assert.equal(judge(sample(0, { dataBehind: true }), RUNGS[3]), "bad");
});

test("pictures that stand still are a thin line, whatever is lost", () => {
  assert.equal(judge(sample(0, { frozen: 0.5 }), RUNGS[0]), "bad");
  assert.equal(judge(sample(0, { frozen: 0.1 }), RUNGS[0]), "fair");
});

test("it goes up again when the line was good for a while, one rung at a time", () => {
  const ladder = new Ladder();
  stood(ladder, 0, 40, THIN);
  assert.equal(ladder.at, 3);
  const rungs = stood(ladder, 40, 140, {});
  assert.equal(rungs[10], 3, "not at once");
  assert.deepEqual([...new Set(rungs)], [3, 2, 1, 0]);
});

test("who falls again right after going up waits longer the next time", () => {
  const ladder = new Ladder();
  stood(ladder, 0, 40, THIN);
  const first = stood(ladder, 40, 100, {}).indexOf(2);
  const second = new Ladder();
  stood(second, 0, 40, THIN);
  let s = 40;
  while (second.at === 3) second.take(sample(s++ * 1000));
  while (second.at === 2) second.take(sample(s++ * 1000, THIN));
  const from = s;
  while (second.at === 3) second.take(sample(s++ * 1000));
  assert.ok(s - from > first + 10, `${s - from} s after ${first} s`);
});

test("what was measured right after a step is of the step before", () => {
  const ladder = new Ladder();
  stood(ladder, 0, 4, THIN);
  assert.equal(ladder.at, 1);
  assert.deepEqual(stood(ladder, 4, 7, THIN), [1, 1, 1]);
});

test("a picture's share goes round among those who get it", () => {
  assert.equal(shareOf(RUNGS[0], 1), 1_800_000);
  assert.equal(shareOf(RUNGS[0], 3), 600_000);
  assert.equal(shareOf(RUNGS[2], 9), 60_000, "less shows nothing");
});

const inbound = (id, packetsReceived, packetsLost, more = {}) => ({ id, type: "inbound-rtp", kind: "video", packetsReceived, packetsLost, framesDecoded: packetsReceived, totalFreezesDuration: 0, ...more });

test("of all connections the worst counts, by what was lost since the last look", () => {
  const meter = new LineMeter();
  meter.read([inbound("a", 1000, 500), inbound("b", 1000, 0)], 1000, 30, false);
  const pair = { id: "0 p", type: "candidate-pair", state: "succeeded", nominated: true, currentRoundTripTime: 0.08, availableOutgoingBitrate: 900_000 };
  const thin = { ...pair, id: "1 q", currentRoundTripTime: 0.3, availableOutgoingBitrate: 300_000 };
  const sent = (id, qualityLimitationReason, framesSent = 1000) => ({ id, type: "outbound-rtp", kind: "video", qualityLimitationReason, framesSent });
  const read = meter.read([inbound("a", 1090, 510), inbound("b", 1100, 0, { totalFreezesDuration: 0.25 }), pair, thin, { ...thin, id: "r", state: "waiting", currentRoundTripTime: 9 }], 2000, 30, false);
  assert.equal(read.loss, 0.1);
  assert.equal(read.rttMs, 300);
  assert.equal(read.outKbps, null, "a connection that only receives tells the browser's first guess for good");
  const out = (...rows) => meter.read([pair, thin, ...rows], 3000, 30, false).outKbps;
  assert.equal(out(sent("0 v", "bandwidth")), 900);
  assert.equal(out(sent("0 v", "bandwidth"), sent("1 v", "none")), 1800, "each of two gets a half");
  assert.equal(out(sent("0 v", "none"), sent("1 v", "bandwidth")), 600);
  assert.equal(out(sent("1 v", "bandwidth", 60)), null, "it still feels its way up");
  assert.equal(out(sent("1 v", "cpu")), null);
  assert.equal(read.frozen, 0.25);
});

test("what the other side says it lost counts too; of a few packets the share says nothing", () => {
  const meter = new LineMeter();
  meter.read([inbound("a", 10, 0)], 1000, null, false);
  assert.equal(meter.read([inbound("a", 12, 3)], 2000, 70, false).loss, null);
  assert.equal(meter.read([], 3000, 70, true).rttMs, 70, "the room's own line, where no connection tells one");
  assert.equal(meter.read([{ id: "r", type: "remote-inbound-rtp", fractionLost: 0.2 }], 4000, 70, false).loss, 0.2);
});

test("a picture that ends is not one that froze", () => {
  const meter = new LineMeter();
  meter.read([inbound("a", 100, 0, { totalFreezesDuration: 0 })], 1000, 30, false);
  const still = inbound("a", 100, 0, { totalFreezesDuration: 1 });
  assert.equal(meter.read([still], 2000, 30, false).frozen, null);
});

test("what stands against a camera, by the standard's names", () => {
  assert.equal(troubleOf("NotAllowedError"), "refused");
  assert.equal(troubleOf("NotFoundError"), "absent");
  assert.equal(troubleOf("NotReadableError"), "busy");
  assert.equal(troubleOf("Whatever"), "failed");
});

// -- stills ----------------------------------------------------------------------------------------------------------

const FILE = "ab".repeat(32);
const ANNA = { id: 3, role: "expert", name: "Anna" };
const WANG = { id: 2, role: "technician", name: "Wang" };
const event = (kind, id, who, body = {}, text = "") => ({ type: "event", n: 1, t_us: 5_000_000, kind, who, id, text, body });

function drawnOn() {
  const list = new StillList();
  assert.ok(list.take(event("still", "s1", ANNA, { file: FILE, of: 2, t_us: 4_000_000 }, "this clamp")));
  assert.ok(list.take(event("stroke", "l1", ANNA, { still: "s1", points: [[0, 0], [1, 1]], colour: 0 })));
  return list;
}

test("a still with its lines, as the events tell it", () => {
  const list = drawnOn();
  const [still] = list.list();
  assert.equal(still.number, 1);
  assert.equal(still.tUs, 4_000_000);
  assert.equal(still.text, "this clamp");
  assert.deepEqual(still.strokes[0].points, [[0, 0], [1, 1]]);
  list.take(event("unstroke", "l1", ANNA));
  assert.equal(list.get("s1").strokes.length, 0);
});

test("a line that this page drew itself, and then hears of, is one line", () => {
  const list = drawnOn();
  assert.equal(list.take(event("stroke", "l1", ANNA, { still: "s1", points: [[0, 0], [1, 1]], colour: 0 })), false);
  assert.equal(list.get("s1").strokes.length, 1);
  list.drop("l1");
  assert.equal(list.get("s1").strokes.length, 0, "and none when the service did not take it");
});

test("what is broken is no still and no line", () => {
  const list = drawnOn();
  assert.equal(list.take(event("still", "s2", ANNA, { file: "../etc/passwd" })), false);
  assert.equal(list.take(event("stroke", "l2", ANNA, { still: "nothing", points: [[0, 0]] })), false);
  assert.equal(list.take(event("stroke", "l3", ANNA, { still: "s1", points: "x" })), false);
  list.take(event("stroke", "l4", ANNA, { still: "s1", points: [[0, 0]], colour: -7 }));
  assert.ok(list.get("s1").strokes.at(-1).colour >= 0);
});

test("everybody has a colour of their own and keeps it", () => {
  const list = drawnOn();
  assert.equal(colourFor(list.get("s1"), 3), 0);
  assert.equal(colourFor(list.get("s1"), 2), 1);
  list.take(event("stroke", "l2", WANG, { still: "s1", points: [[0, 0]], colour: 1 }));
  assert.equal(colourFor(list.get("s1"), 2), 1);
  assert.equal(colourFor(list.get("s1"), 9), 2);
});

test("a straight line needs two points, a circle some, and none more than three hundred", () => {
  assert.deepEqual(thinned(Array.from({ length: 50 }, (_, i) => [i / 100, i / 100])), [[0, 0], [0.49, 0.49]]);
  const circle = Array.from({ length: 4000 }, (_, i) => [0.5 + 0.4 * Math.cos(i / 100), 0.5 + 0.4 * Math.sin(i / 100)]);
  const kept = thinned(circle);
  assert.ok(kept.length > 20 && kept.length <= 300, String(kept.length));
  for (const [x, y] of kept) assert.ok(Math.abs(Math.hypot(x - 0.5, y - 0.5) - 0.4) < 0.001);
  const noise = Array.from({ length: 5000 }, (_, i) => [(i * 0.37) % 1, (i * 0.61) % 1]);
  assert.ok(thinned(noise).length <= 300);
  assert.deepEqual(thinned([[-1, 2]]), [[0, 1]], "inside the picture");
});

test("a line is drawn at its place in the picture, a dot as a dot", () => {
  const did = [];
  const pen = new Proxy({}, { get: (_, name) => (...args) => did.push([name, ...args]), set: () => true });
  drawStrokes(pen, [{ points: [[0, 0], [0.5, 1]], colour: 0 }], 200, 100);
  assert.ok(did.some(([name, x, y]) => name === "lineTo" && x === 100 && y === 100));
  did.length = 0;
  drawStrokes(pen, [{ points: [[0.5, 0.5]], colour: 0 }], 200, 100);
  assert.ok(did.some(([name, x, y]) => name === "arc" && x === 100 && y === 50));
});
