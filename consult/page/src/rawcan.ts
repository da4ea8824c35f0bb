/** The bus itself, where the technician lets it be seen: one line per id, the bytes that changed stand out. */
import { h, setText } from "./dom";
import { RawBoard, type RawRow } from "./rawboard";
import type { RoomState } from "./state";
import { say } from "./words";

const MOST_ROWS = 400;
const FRESH_S = 1.5;

export class RawPanel {
  readonly root = h("div", { class: "raw-can", id: "raw-can" });
  private readonly state: RoomState;
  private readonly filter = h("input", { type: "search", placeholder: say("filterIds"), "aria-label": say("filterIds"), autocomplete: "off", class: "mono" });
  private readonly body = h("tbody");
  private readonly rows = new Map<string, { row: HTMLTableRowElement; count: Node; rate: Node; bytes: HTMLElement; drawn: string }>();
  private board = new RawBoard();
  private epoch = -1;

  constructor(state: RoomState) {
    this.state = state;
    const head = h("tr", {}, ...(["rawId", "rawCount", "rawRate", "bytes"] as const).map((key) => h("th", { scope: "col" }, say(key))));
    this.root.append(this.filter, h("div", { class: "raw-scroll" }, h("table", {}, h("thead", {}, head), this.body)));
  }

  /** Whether this page is shown the bus at all. */
  get exists(): boolean {
    return [...this.state.link.streams.values()].some((stream) => stream.kind === "raw");
  }

  /** Counts what came; draws it where somebody looks. */
  update(visible: boolean): void {
    for (const stream of this.state.link.streams.values()) {
      if (stream.kind !== "raw") continue;
      if (stream.epoch !== this.epoch) {
        this.epoch = stream.epoch;
        this.board = new RawBoard();
        this.rows.clear();
        this.body.replaceChildren();
      }
      this.board.take(stream.raw);
    }
    if (visible) this.draw();
  }

  private draw(): void {
    const wanted = this.filter.value.trim().toUpperCase();
    for (const line of this.board.list().slice(0, MOST_ROWS)) {
      const known = this.rows.get(line.key) ?? this.make(line);
      known.row.hidden = wanted !== "" && !line.label.includes(wanted);
      if (known.row.hidden) continue;
      setText(known.count, String(line.count));
      setText(known.rate, line.rateHz >= 100 ? line.rateHz.toFixed(0) : line.rateHz.toFixed(1));
      const fresh = line.changedS.map((at) => this.board.newestS - at < FRESH_S);
      const print = `${line.bytes.join()} ${fresh.join()}`;
      if (print === known.drawn) continue;
      known.drawn = print;
      known.bytes.replaceChildren(...Array.from(line.bytes, (byte, i) => h(fresh[i] ? "b" : "span", {}, byte.toString(16).toUpperCase().padStart(2, "0"))));
    }
  }

  private make(line: RawRow) {
    const [count, rate] = [document.createTextNode(""), document.createTextNode("")];
    const bytes = h("td", { class: "raw-bytes" });
    const row = h("tr", { "data-id": line.label }, h("th", { scope: "row" }, line.label, line.sent ? h("span", { class: "tag", title: say("rawSent") }, "TX") : null), h("td", {}, count), h("td", {}, rate), bytes);
    const made = { row, count, rate, bytes, drawn: "" };
    this.rows.set(line.key, made);
    const after = [...this.body.children].find((one) => (one as HTMLElement).dataset["id"] !== undefined && order((one as HTMLElement).dataset["id"] ?? "") > order(line.label));
    this.body.insertBefore(row, after ?? null);
    return made;
  }
}

/** Short ids before long ones, then by number. */
function order(label: string): number {
  return Number.parseInt(label, 16) + (label.length > 3 ? 2 ** 32 : 0);
}
