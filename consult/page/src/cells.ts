/** The traction battery: a few figures, and one square per cell, live where the car broadcasts them. */
import { digits, h, setText, unitSign } from "./dom";
import type { RoomState } from "./room";
import { say, type Key } from "./words";

const CELL = /^(?:.*_)?cell_?volt(?:age)?s?_?(\d{1,3})$/i;

/** Names of the cell signals of a stream by cell number, counted from 1. */
function cellSignals(state: RoomState): { name: string; read: () => number }[] {
  const found: { cell: number; name: string; read: () => number }[] = [];
  for (const stream of state.link.streams.values()) {
    stream.signals.forEach((signal, index) => {
      const match = CELL.exec(signal.name);
      if (match) found.push({ cell: Number(match[1]), name: signal.name, read: () => stream.latest(index) });
    });
  }
  return found.sort((a, b) => a.cell - b.cell);
}

/** Deviation that gets full colour: a sound pack stays pale. Practice: 50 mV apart is a fault (NMC, light load). */
const FULL_COLOUR_V = 0.05;

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length > 0 ? (sorted[sorted.length >> 1] ?? NaN) : NaN;
}

export function batteryCard(state: RoomState, toggle: (name: string) => void): { root: HTMLElement; update: () => void } {
  const root = h("article", { class: "card battery", id: "battery", hidden: true });
  const figures = h("dl", { class: "figures" });
  const caption = h("div", { class: "label" });
  const extremes = h("div", { class: "extremes" });
  const grid = h("div", { class: "cells", role: "group", "aria-label": say("cellsNow") });
  root.append(h("h2", {}, say("battery")), figures, caption, grid, extremes, h("p", { class: "hint" }, say("cellHint")));
  let squares: HTMLButtonElement[] = [];

  grid.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 16, ArrowUp: -16 }[event.key];
    const here = squares.indexOf(document.activeElement as HTMLButtonElement);
    const there = step === undefined || here < 0 ? undefined : squares[here + step];
    if (there) {
      event.preventDefault();
      there.focus();
      squares.forEach((square) => (square.tabIndex = square === there ? 0 : -1));
    }
  });

  function build(count: number): void {
    squares = Array.from({ length: count }, (_, i) =>
      h("button", { type: "button", class: "cell", tabindex: i === 0 ? 0 : -1, "data-cell": i + 1, click: () => {
        const signal = cellSignals(state)[i];
        if (signal) toggle(signal.name);
      } }),
    );
    grid.replaceChildren(...squares);
  }

  function update(): void {
    const battery = state.report.battery;
    const live = cellSignals(state);
    const now = live.map((signal) => signal.read());
    const isLive = now.some((value) => !Number.isNaN(value));
    const volts = isLive ? now : (battery?.cell_v ?? []).map((value) => value ?? NaN);
    root.hidden = !battery && volts.length === 0;
    if (root.hidden) return;
    if (volts.length !== squares.length) build(volts.length);
    setText(caption, volts.length > 0 ? say(isLive ? "cellsNow" : "cellsScan") : "");
    const known = volts.filter((value) => !Number.isNaN(value));
    const middle = median(known);
    const scale = Math.max(FULL_COLOUR_V, ...known.map((value) => Math.abs(value - middle)));
    let lowest = -1;
    let highest = -1;
    volts.forEach((value, i) => {
      const square = squares[i];
      if (!square) return;
      square.removeAttribute("data-extreme");
      if (Number.isNaN(value)) {
        square.style.removeProperty("--share");
        square.dataset["side"] = "none";
        square.title = `${i + 1}: –`;
        return;
      }
      if (lowest < 0 || value < (volts[lowest] ?? 0)) lowest = i;
      if (highest < 0 || value > (volts[highest] ?? 0)) highest = i;
      const share = (value - middle) / scale;
      square.dataset["side"] = share < 0 ? "low" : "high";
      square.style.setProperty("--share", `${Math.round(Math.abs(share) * 100)}%`);
      square.title = `${i + 1}: ${digits(value, "V")} V (${((value - middle) * 1000).toFixed(0)} mV)`;
      square.setAttribute("aria-label", square.title);
    });
    let spread = battery?.spread_mv ?? NaN;
    if (lowest >= 0 && highest >= 0) {
      spread = ((volts[highest] ?? 0) - (volts[lowest] ?? 0)) * 1000;
      squares[lowest]?.setAttribute("data-extreme", "low");
      squares[highest]?.setAttribute("data-extreme", "high");
      setText(
        extremes,
        `${say("lowest")} ${lowest + 1}: ${digits(volts[lowest] ?? NaN, "V")} V · ${say("highest")} ${highest + 1}: ${digits(volts[highest] ?? NaN, "V")} V`,
      );
    }
    drawFigures(figures, state, spread);
  }

  return { root, update };
}

/** Figures of the pack: now, where the car broadcasts them, else as the scan read them. */
function drawFigures(list: HTMLElement, state: RoomState, spreadMv: number): void {
  const battery = state.report.battery;
  const rows: [Key, number, string][] = [
    ["soc", liveValue(state, /^(state_?of_?charge|soc)$/i) ?? battery?.soc ?? NaN, "%"],
    ["packVoltage", liveValue(state, /^pack_?voltage$/i) ?? battery?.pack_v ?? NaN, "V"],
    ["packCurrent", liveValue(state, /^pack_?current$/i) ?? battery?.current_a ?? NaN, "A"],
    ["spread", spreadMv, "mV"],
    ["insulation", liveValue(state, /^insulation_?resistance$/i) ?? battery?.insulation_kohm ?? NaN, "kOhm"],
  ];
  if (list.childElementCount === 0) {
    list.append(...rows.map(([label]) => h("div", {}, h("dt", {}, say(label)), h("dd", {}))));
  }
  list.querySelectorAll("dd").forEach((cell, i) => {
    const [, value, unit] = rows[i] ?? ["soc", NaN, ""];
    setText(cell, `${digits(value, unit)} ${unitSign(unit)}`);
  });
}

function liveValue(state: RoomState, pattern: RegExp): number | null {
  for (const stream of state.link.streams.values()) {
    const index = stream.signals.findIndex((signal) => pattern.test(signal.name));
    const value = index < 0 ? NaN : stream.latest(index);
    if (!Number.isNaN(value)) return value;
  }
  return null;
}
