/** A small chart of one figure over the last day, as SVG. */
import { h, setText } from "./dom";
import { lang } from "./words";

const NS = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 72;
const DAY_US = 86_400e6;
const GAP_US = 200e6;

function svg(tag: string, attributes: Record<string, string | number>): SVGElement {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

/** The smallest 1, 2 or 5 times a power of ten that is not below a value. */
export function niceTop(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((top) => top >= value * 0.9999) ?? value;
}

/** The path of a curve: it breaks where nothing was measured. */
export function pathOf(times: readonly number[], values: readonly (number | null)[], fromUs: number, top: number): string {
  let path = "";
  let lastUs = -Infinity;
  times.forEach((at, n) => {
    const value = values[n];
    if (value === null || value === undefined || at < fromUs) return;
    const x = ((at - fromUs) / DAY_US) * WIDTH;
    const y = HEIGHT - (Math.min(value, top) / top) * HEIGHT;
    // A lone point is still seen: a line of no length with round ends.
    path += `${at - lastUs > GAP_US ? `M${x.toFixed(1)} ${y.toFixed(1)}h0` : ""}L${x.toFixed(1)} ${y.toFixed(1)}`;
    lastUs = at;
  });
  return path;
}

export interface Curve {
  name: string;
  unit: string;
  times: readonly number[];
  values: readonly (number | null)[];
  nowUs: number;
  show: (value: number) => string;
}

/** Name, newest value, curve with its scale; the pointer reads other values. */
export function sparkline(curve: Curve): HTMLElement {
  const { times, values } = curve;
  const fromUs = curve.nowUs - DAY_US;
  const known = values.filter((value): value is number => value !== null);
  const top = niceTop(Math.max(0, ...known));
  const newest = known.length ? `${curve.show(known[known.length - 1] ?? 0)} ${curve.unit}`.trim() : "–";
  const reading = h("strong", {}, newest);
  const graph = svg("svg", { viewBox: `0 -2 ${WIDTH} ${HEIGHT + 4}`, preserveAspectRatio: "none", role: "img", "aria-label": `${curve.name}: ${newest}` });
  for (const share of [0, 0.5, 1]) {
    graph.append(svg("line", { x1: 0, x2: WIDTH, y1: share * HEIGHT, y2: share * HEIGHT, class: "spark-grid" }));
  }
  graph.append(svg("path", { d: pathOf(times, values, fromUs, top), class: "spark-line" }));
  graph.addEventListener("pointermove", (event) => {
    const box = graph.getBoundingClientRect();
    const wanted = fromUs + ((event.clientX - box.left) / box.width) * DAY_US;
    let best = -1;
    times.forEach((at, n) => {
      if (values[n] != null && (best < 0 || Math.abs(at - wanted) < Math.abs((times[best] ?? 0) - wanted))) best = n;
    });
    const value = values[best];
    const at = times[best];
    if (value == null || at === undefined) return;
    const time = new Date(at / 1000).toLocaleTimeString(lang(), { hour: "2-digit", minute: "2-digit" });
    setText(reading, `${time} · ${curve.show(value)} ${curve.unit}`.trim());
  });
  graph.addEventListener("pointerleave", () => setText(reading, newest));
  const hours = [24, 18, 12, 6, 0].map((back) =>
    h("span", {}, back ? new Date(curve.nowUs / 1000 - back * 3600e3).toLocaleTimeString(lang(), { hour: "2-digit", minute: "2-digit" }) : ""),
  );
  return h(
    "figure",
    { class: "spark" },
    h("figcaption", {}, h("span", { class: "label" }, curve.name), reading),
    h("div", { class: "spark-body" }, h("span", { class: "spark-top dim", hidden: !known.length }, `${curve.show(top)} ${curve.unit}`.trim()), graph),
    h("div", { class: "spark-hours dim" }, ...hours),
  );
}
