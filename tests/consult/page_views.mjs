// The page's modules that draw nothing, run by Node.js: time, columns, charts, history, marks, requests, proofs, cells.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

const load = (name) => import(`${process.env.PAGE_MODULES}/${name}.js`);
const { TimeView } = await load("timeview");
const { clearColumn, extent, makeColumn, traceColumns, valueAtColumn } = await load("columns");
const { Arrangement } = await load("arrange");
const { HistoryBroken, fillFromHistory, parseHistory } = await load("history");
const { MarkList } = await load("marks");
const { RequestList, isLate, secondsLeft, spaced } = await load("requests");
const { StreamStore } = await load("store");
const { digestOf, proofOfDecision, proofOfHold, secretBytes } = await load("proof");
const { cellOfSignal, cellsOfStream, modulesOf, spreadOf } = await load("pack");
const { sampleBytes } = await load("probe");

// -- time ------------------------------------------------------------------------------------------------------------

test("a young stream fills the width, and the window grows until it is full", () => {
  const time = new TimeView();
  assert.deepEqual(time.span(100, 103), { from: 93, to: 103 });
  assert.deepEqual(time.span(100, 130), { from: 100, to: 130 });
  assert.deepEqual(time.span(100, 500), { from: 440, to: 500 });
});

test("while live a zoom keeps the newest edge; in the past it keeps the time under the pointer", () => {
  const time = new TimeView();
  time.zoom(0.5, 470, { from: 440, to: 500 }, 1000);
  assert.equal(time.live, true);
  assert.equal(time.windowS, 30);
  time.show(100, 200);
  time.zoom(0.5, 120, { from: 100, to: 200 }, 1000);
  assert.deepEqual(time.fixed, { from: 110, to: 160 });
  time.zoom(1e9, 120, time.fixed, 400);
  assert.equal(Math.round(time.fixed.to - time.fixed.from), 400);
});

test("what is moved beyond the newest is live again; nobody gets lost before the beginning", () => {
  const time = new TimeView();
  time.show(100, 160);
  time.pan(-0.5, time.fixed, 90, 500);
  assert.deepEqual(time.fixed, { from: 70, to: 130 });
  time.pan(-50, time.fixed, 90, 500);
  assert.ok(time.fixed.to > 90, "something of the session is in sight");
  time.pan(100, time.fixed, 90, 500);
  assert.equal(time.live, true);
  assert.equal(time.windowS, 60);
});

test("a selection of no length is widened to what can be seen", () => {
  const time = new TimeView();
  time.show(50, 50);
  assert.deepEqual(time.fixed, { from: 49.75, to: 50.25 });
});

// -- columns ---------------------------------------------------------------------------------------------------------

const signals = [{ name: "a", unit: "V" }, { name: "b", unit: "A" }];
const block = (seq, a = seq, b = -seq) => ({ kind: "samples", stream: 1, epoch: 5, seq, tUs: seq * 50_000, values: Float32Array.of(a, b) });

function columnsOf(store, indices, from, step, width) {
  const columns = indices.map(() => makeColumn(width));
  columns.forEach(clearColumn);
  store.fillColumns(indices, columns, from, step);
  return columns;
}

function traced(column, y = (value) => value) {
  const steps = [];
  traceColumns(column, { moveTo: (x, at) => steps.push(["m", x, at]), lineTo: (x, at) => steps.push(["l", x, at]) }, 0, 1, y);
  return steps;
}

test("a column holds the smallest and the largest of its stretch, and no sample is lost in between", () => {
  const store = new StreamStore(1, 5, signals, 0, 0);
  for (let seq = 0; seq < 40; seq++) store.add(block(seq, seq === 17 ? 1000 : seq), "rtc");
  const [a, b] = columnsOf(store, [0, 1], 0, 0.5, 4);
  assert.deepEqual([...a.min], [0, 10, 20, 30]);
  assert.deepEqual([...a.max], [9, 1000, 29, 39]);
  assert.deepEqual([...b.min], [-9, -19, -29, -39]);
  assert.deepEqual(extent([a, b]), [-39, 1000]);
  assert.deepEqual([...a.breaks], [0, 0, 0, 0]);
});

test("columns agree with the samples one by one, whatever the order they came in", () => {
  const store = new StreamStore(1, 5, signals, 0, 0);
  const order = Array.from({ length: 500 }, (_, seq) => seq).sort((x, y) => ((x * 7919) % 501) - ((y * 7919) % 501));
  for (const seq of order) store.add(block(seq, Math.sin(seq) * 10), "wss");
  const [column] = columnsOf(store, [0], 5, 0.3, 50);
  for (let i = 0; i < 50; i++) {
    const inside = order.filter((seq) => Math.floor(((seq * 50_000) / 1e6 - 5) / 0.3) === i).map((seq) => Math.fround(Math.sin(seq) * 10));
    if (inside.length === 0) assert.ok(Number.isNaN(column.min[i]));
    else assert.deepEqual([column.min[i], column.max[i]], [Math.min(...inside), Math.max(...inside)]);
  }
});

test("a block that lacks and a value that is none break the line; an empty column alone does not", () => {
  const store = new StreamStore(1, 5, signals, 0, 0);
  for (const seq of [0, 1, 2, 5, 6]) store.add(block(seq, seq, seq === 1 ? NaN : 1), "rtc");
  const [a, b] = columnsOf(store, [0, 1], 0, 0.025, 16);
  assert.deepEqual(traced(a).map((step) => step[0]).join(""), "mllml");
  assert.equal(a.breaks[10], 1, "blocks 3 and 4 lack");
  assert.equal(traced(b).filter((step) => step[0] === "m").length, 3, "the value that is none breaks it, too");
  assert.ok(Number.isNaN(valueAtColumn(a, 7)), "in the gap there is no value");
  assert.equal(valueAtColumn(a, 3), 1, "between two joined columns it is that before");
});

test("what a thin line sends ahead is drawn by its bounds, until the blocks themselves come", () => {
  const store = new StreamStore(1, 5, signals, 0, 0);
  for (const seq of [0, 1, 2]) store.add(block(seq, 1), "wss");
  const envelope = { kind: "envelope", stream: 1, epoch: 5, first: 3, seq: 9, tUs: 9 * 50_000, low: Float32Array.of(-5, 0), high: Float32Array.of(7, 0) };
  assert.equal(store.addEnvelope(envelope), true);
  const [ahead] = columnsOf(store, [0], -0.025, 0.05, 10);
  assert.deepEqual([ahead.min[9], ahead.max[9], ahead.breaks[9]], [-5, 7, 0]);
  for (let seq = 3; seq < 10; seq++) store.add(block(seq, seq), "wss");
  const [after] = columnsOf(store, [0], -0.025, 0.05, 10);
  assert.deepEqual([...after.max.slice(3, 10)], [3, 4, 5, 6, 7, 8, 9]);
});

test("the pen goes to the nearer end of a column first", () => {
  const column = makeColumn(2);
  column.min.set([0, 1]);
  column.max.set([10, 9]);
  assert.deepEqual(traced(column), [["m", 0.5, 0], ["l", 0.5, 10], ["l", 1.5, 9], ["l", 1.5, 1]]);
});

// -- charts ----------------------------------------------------------------------------------------------------------

test("signals of one kind share a chart; one can be taken out and put elsewhere; colours stay", () => {
  const charts = new Arrangement();
  for (const [name, unit] of [["PackVoltage", "V"], ["CellVoltage_001", "V"], ["CellVoltage_002", "V"], ["PackCurrent", "A"]]) charts.add(name, unit);
  assert.deepEqual(charts.charts.map((chart) => chart.names), [["PackVoltage"], ["CellVoltage_001", "CellVoltage_002"], ["PackCurrent"]]);
  const ink = charts.ink("CellVoltage_002");
  charts.move("CellVoltage_002", null);
  assert.deepEqual(charts.charts.at(-1).names, ["CellVoltage_002"]);
  charts.move("CellVoltage_002", charts.charts[0].id);
  assert.deepEqual(charts.charts.map((chart) => chart.names), [["PackVoltage", "CellVoltage_002"], ["CellVoltage_001"], ["PackCurrent"]]);
  assert.equal(charts.ink("CellVoltage_002"), ink);
  charts.remove("CellVoltage_001");
  assert.equal(charts.charts.length, 2, "a chart without signals goes");
  charts.add("New", "V");
  assert.equal(new Set(charts.names().map((name) => charts.ink(name))).size, charts.names().length, "no two of one colour");
});

test("an empty chart stays until it is removed; the number of curves is bounded", () => {
  const charts = new Arrangement();
  const empty = charts.addChart();
  for (let i = 0; i < 70; i++) charts.add(`S${String.fromCharCode(65 + i)}x`, "V");
  assert.equal(charts.names().length, 64);
  charts.removeChart(empty.id);
  assert.equal(charts.charts.length, 1);
  charts.only(["SAx", "Else"], () => "A");
  assert.deepEqual(charts.names(), ["SAx", "Else"]);
});

// -- history ---------------------------------------------------------------------------------------------------------

function historyBytes({ magic = 0x31485a48, zero = 0, points = 4, step = 1_000_000n, min = [[1, 2, NaN, 4]], max = [[3, 4, NaN, 6]], cut = 0 } = {}) {
  const view = new DataView(new ArrayBuffer(32 + 8 * min.length * points - cut));
  view.setUint32(0, magic, true);
  view.setUint16(4, min.length, true);
  view.setUint32(8, points, true);
  view.setUint32(12, zero, true);
  view.setBigUint64(16, 10_000_000n, true);
  view.setBigUint64(24, step, true);
  [...min, ...max].flat().forEach((value, i) => 36 + 4 * i <= view.byteLength && view.setFloat32(32 + 4 * i, value, true));
  return view.buffer;
}

test("an answer of the history, and everything that is none", () => {
  const page = parseHistory(historyBytes());
  assert.deepEqual([page.fromUs, page.stepUs, page.points], [10_000_000, 1_000_000, 4]);
  assert.deepEqual([...page.min[0]], [1, 2, NaN, 4]);
  assert.deepEqual([...page.max[0]], [3, 4, NaN, 6]);
  for (const broken of [historyBytes({ magic: 1 }), historyBytes({ zero: 1 }), historyBytes({ cut: 4 }), historyBytes({ step: 0n }), historyBytes({ min: [], max: [] }), new ArrayBuffer(31)]) {
    assert.throws(() => parseHistory(broken), HistoryBroken);
  }
});

test("bytes at random are refused or read, and nothing else happens", () => {
  let state = 12345;
  const next = () => (state = (state * 1103515245 + 12345) & 0x7fffffff);
  for (let round = 0; round < 2000; round++) {
    const bytes = new Uint8Array(historyBytes());
    for (let i = 0; i < 3; i++) bytes[next() % bytes.length] = next() & 255;
    try {
      parseHistory(bytes.buffer.slice(0, bytes.length - (next() % 3)));
    } catch (error) {
      assert.ok(error instanceof HistoryBroken, String(error));
    }
  }
});

test("history fills the columns before a time and leaves long silence a gap", () => {
  const points = 12;
  const values = Array.from({ length: points }, (_, i) => (i >= 3 && i < 8 ? NaN : i));
  const page = parseHistory(historyBytes({ points, min: [values], max: [values.map((value) => value + 0.5)] }));
  const column = makeColumn(12);
  clearColumn(column);
  fillFromHistory(page, 0, column, 10, 1, 20);
  assert.deepEqual([...column.min.slice(0, 3)], [0, 1, 2]);
  assert.equal(column.breaks[8], 1);
  assert.equal(column.max[9], 9.5);
  assert.ok(Number.isNaN(column.max[10]), "from 20 s on the page has the samples themselves");
});

// -- marks and requests ----------------------------------------------------------------------------------------------

const who = { id: 3, role: "expert", name: "Li" };
const event = (kind, id, body = {}, text = "", n = 1) => ({ type: "event", n, t_us: 1_000_000 * n, kind, who, id, text, body });

test("marks come, go, and keep their numbers", () => {
  const marks = new MarkList();
  marks.take(event("mark", "a", { stream: 1, signal: "x", t_us: 5, t2_us: 0 }, "here"));
  marks.take(event("mark", "b", { stream: 1, signal: "x", t_us: 3, t2_us: 0 }));
  assert.deepEqual(marks.list().map((mark) => [mark.id, mark.number]), [["b", 2], ["a", 1]]);
  marks.take(event("unmark", "a"));
  assert.deepEqual(marks.of(1, "x").map((mark) => mark.number), [2]);
  assert.equal(marks.take(event("mark", "c", { stream: "1" })), false, "no mark");
});

test("a request runs its course", () => {
  const list = new RequestList();
  list.take(event("request", "r", { ecu: "0x7EC", data: "1902FF", risk: "A", name: { en: "Read", zh: "读" }, hold: false, digest: "d", expires_us: 61_000_000, seconds: 1 }, "why"));
  const request = list.get("r");
  assert.equal(request.state, "waiting");
  assert.equal(secondsLeft(request, 1_000_000), 60);
  assert.equal(isLate(request, 61_000_001), true);
  assert.equal(list.waiting(61_000_001).length, 0);
  list.take(event("seen", "r", { digest: "d", risk: "A", session: true, unplugged: true, state: { speed_kmh: 0, supply_v: 12.4 }, unmet: null }));
  assert.deepEqual([request.seen.speedKmh, request.seen.session, request.seen.unplugged], [0, true, true]);
  list.take(event("decision", "r", { decision: "second" }));
  assert.equal(request.seconded.length, 1);
  assert.equal(request.state, "waiting");
  list.take(event("decision", "r", { decision: "session" }));
  assert.deepEqual([request.state, request.session], ["approved", true]);
  list.take(event("result", "r", { outcome: "done", answers: [] }));
  assert.equal(request.state, "done");
  assert.equal(list.take(event("result", "other", { outcome: "done" })), false);
});

test("a held request runs after its approval; a denial and an expiry end it", () => {
  const list = new RequestList();
  for (const id of ["h", "n", "x"]) list.take(event("request", id, { ecu: "0x7EC", data: "2F01610346", risk: "C", hold: true, expires_us: 9e6 }));
  list.take(event("decision", "h", { decision: "approve" }));
  list.take(event("decision", "n", { decision: "deny" }));
  list.take(event("result", "x", { outcome: "expired" }));
  assert.deepEqual(["h", "n", "x"].map((id) => list.get(id).state), ["running", "denied", "expired"]);
  list.take(event("result", "h", { outcome: "stopped" }));
  assert.equal(list.get("h").state, "stopped");
  assert.equal(spaced("2f0161"), "2F 01 61");
});

for (const vector of JSON.parse(readFileSync(process.env.REQUESTS, "utf8")).requests) {
  test(`digest and proofs of ${vector.id} are those that Python computes`, async () => {
    assert.equal(await digestOf(vector.room, vector), vector.digest);
    const secret = secretBytes(vector.secret);
    assert.equal(await proofOfDecision(secret, vector.digest, vector.id, vector.decision, vector.unplugged), vector.proof);
    assert.equal(await proofOfHold(secret, vector.digest, vector.id, vector.count), vector.hold_proof);
  });
}

test("what is no secret is none", () => {
  assert.equal(secretBytes(""), null);
  assert.equal(secretBytes("short"), null);
  assert.equal(secretBytes("*".repeat(43)), null);
  assert.equal(secretBytes("A".repeat(43)).length, 32);
});

// -- cells and the digest of samples ---------------------------------------------------------------------------------

test("cells: their signals, their modules, how far apart they are", () => {
  assert.equal(cellOfSignal("CellVoltage_017"), 17);
  assert.equal(cellOfSignal("BMS_CellVolt4"), 4);
  assert.equal(cellOfSignal("CellVoltageMax"), null);
  assert.equal(cellOfSignal("CellTemp_3"), null);
  assert.deepEqual(cellsOfStream(["CellVoltage_003", "PackVoltage", "CellVoltage_001"], true), [3, null, 1], "names count, not columns");
  assert.deepEqual(cellsOfStream(["M1C1", "M1C2"], true), [1, 2]);
  assert.deepEqual(cellsOfStream(["M1C1", "M1C2"], false), [null, null]);
  assert.equal(modulesOf(["1", "2", "3"]), null);
  assert.deepEqual(modulesOf(["1-1", "1-2", "2-1"]), [{ module: "1", cells: [0, 1] }, { module: "2", cells: [2] }]);
  assert.deepEqual(spreadOf([3.6, NaN, 3.5, 3.7]), { lowest: 2, highest: 3, min: 3.5, max: 3.7, median: 3.6 });
  assert.equal(spreadOf([NaN]), null);
});

test("two stores with the same samples have the same bytes, however they came", () => {
  const [one, two] = [new StreamStore(1, 5, signals, 0, 0), new StreamStore(1, 9, signals, 0, 0)];
  for (const seq of [0, 1, 2, 3]) one.add(block(seq, seq === 2 ? NaN : seq), "rtc");
  for (const seq of [3, 0, 2, 2, 1]) two.add(block(seq, seq === 2 ? NaN : seq), "wss");
  const bytes = (store) => Buffer.from(sampleBytes(store.rows(0, 99), [0])).toString("hex");
  assert.equal(bytes(one), bytes(two));
  assert.equal(bytes(one).length, 4 * 16 * 2);
  two.add(block(4), "wss");
  assert.notEqual(bytes(one), bytes(two));
});
