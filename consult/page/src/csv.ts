/** What is shown, as a table that a spreadsheet opens. */
import { h } from "./dom";
import type { RoomState } from "./state";
import type { Span } from "./timeview";

export function saveCsv(state: RoomState, shown: Span): void {
  for (const store of state.link.streams.values()) {
    if (store.newestTime() === null || store.signals.length === 0) continue;
    const head = ["epoch", "seq", "time_utc", ...store.signals.map((signal) => (signal.unit ? `${signal.name} [${signal.unit}]` : signal.name))];
    const lines = [head.map(quoted).join(",")];
    for (const { seq, t, values } of store.rows(shown.from, shown.to)) {
      const cells = Array.from(values, (value) => (Number.isNaN(value) ? "" : String(value)));
      lines.push([store.epoch, seq, new Date(t * 1000).toISOString(), ...cells].join(","));
    }
    const url = URL.createObjectURL(new Blob([`\ufeff${lines.join("\r\n")}\r\n`], { type: "text/csv" }));
    const name = `huizhen-${new Date(shown.to * 1000).toISOString().replaceAll(":", "")}-${store.id}.csv`;
    h("a", { href: url, download: name }).click();
    window.setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }
}

/** A CSV cell that a spreadsheet takes for text and never for a formula. */
function quoted(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
