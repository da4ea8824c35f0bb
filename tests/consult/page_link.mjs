// The page's websocket without a browser: what is said while there is no line.
import assert from "node:assert/strict";
import test from "node:test";

const sockets = [];
globalThis.window = { setInterval: () => 0, clearInterval: () => {}, setTimeout: (work) => waiting.push(work), clearTimeout: () => {} };
globalThis.location = { protocol: "http:", host: "127.0.0.1" };
globalThis.fetch = async () => ({ status: 200 });
let waiting = [];
globalThis.WebSocket = class {
  static OPEN = 1;
  readyState = 0;
  sent = [];
  constructor() {
    sockets.push(this);
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.readyState = 3;
  }
};

const { Link } = await import(`${process.env.PAGE_MODULES}/link.js`);
const welcome = JSON.stringify({ type: "welcome", you: { id: 1, role: "expert", name: "" }, room: "r", now_us: 0, events: [] });
const event = (kind, body) => JSON.stringify({ type: "event", n: 1, t_us: 1, kind, who: { id: 1 }, id: "", text: "", body });
const stops = (socket) => socket.sent.filter((message) => message.type === "stop").length;

function online(link) {
  link.edge.start = () => {};
  const socket = sockets.at(-1);
  socket.readyState = 1;
  socket.onopen();
  socket.onmessage({ data: welcome });
  return socket;
}

function comeBack() {
  const work = waiting;
  waiting = [];
  for (const one of work) one();
}

test("a stop that is pressed without a line is said as soon as there is one, and no longer than it was heard", () => {
  const link = new Link("/r/r", { said() {}, changed() {}, ended() {} });
  const first = online(link);
  first.readyState = 3;
  first.onclose();
  assert.equal(link.state, "away");
  link.stop();
  assert.equal(stops(first), 0);
  comeBack();
  const second = online(link);
  assert.notEqual(first, second);
  assert.equal(stops(second), 1);
  second.onmessage({ data: event("stop", { stopped: false }) });
  second.readyState = 3;
  second.onclose();
  comeBack();
  const third = online(link);
  assert.equal(stops(third), 1, "going on is no stop");
  third.onmessage({ data: event("stop", { stopped: true }) });
  third.readyState = 3;
  third.onclose();
  comeBack();
  assert.equal(stops(online(link)), 0);
});

test("a stop on a good line is said at once and once", () => {
  const link = new Link("/r/r", { said() {}, changed() {}, ended() {} });
  const socket = online(link);
  link.stop();
  socket.onmessage({ data: event("stop", { stopped: true }) });
  assert.equal(stops(socket), 1);
});
