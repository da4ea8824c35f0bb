/** The search over all signals: a list that is filtered while one types and chosen from by keyboard or pointer. */
import { digits, h, unitSign } from "./dom";
import type { Found } from "./signals";
import { say } from "./words";

const MOST_SHOWN = 300;

export interface PickerOwner {
  signals(): Iterable<Found>;
  has(name: string): boolean;
  toggle(name: string): void;
}

export class Picker {
  readonly root: HTMLElement;
  private readonly owner: PickerOwner;
  private readonly search = h("input", {
    type: "search",
    role: "combobox",
    "aria-expanded": "false",
    "aria-controls": "signal-list",
    "aria-autocomplete": "list",
    placeholder: say("searchSignals"),
    "aria-label": say("searchSignals"),
    autocomplete: "off",
    spellcheck: "false",
  });
  private readonly list = h("ul", { id: "signal-list", role: "listbox", "aria-multiselectable": "true", hidden: true });
  private active = -1;

  constructor(owner: PickerOwner) {
    this.owner = owner;
    this.search.addEventListener("input", () => this.open());
    this.search.addEventListener("focus", () => this.open());
    this.search.addEventListener("keydown", (event) => this.key(event));
    this.root = h("div", { class: "picker" }, this.search, this.list);
  }

  focus(): void {
    this.search.focus();
  }

  open(): void {
    this.list.hidden = false;
    this.search.setAttribute("aria-expanded", "true");
    this.active = -1;
    this.fill();
  }

  close(): void {
    this.list.hidden = true;
    this.search.setAttribute("aria-expanded", "false");
    this.search.removeAttribute("aria-activedescendant");
  }

  /** The choice changed: the list, when open, shows it. */
  refresh(): void {
    if (!this.list.hidden) this.fill();
  }

  private fill(): void {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const matching = [...this.owner.signals()].filter((signal) => {
      const text = `${signal.name} ${signal.message} ${signal.unit}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    this.list.replaceChildren(
      ...matching.slice(0, MOST_SHOWN).map((signal, i) =>
        h(
          "li",
          { id: `signal-${i}`, role: "option", "data-name": signal.name, "aria-selected": String(this.owner.has(signal.name)), click: () => this.owner.toggle(signal.name) },
          h("span", { class: "name", title: signal.name }, signal.name),
          h("span", { class: "dim" }, signal.message),
          h("span", { class: "value" }, `${digits(signal.store.latest(signal.index), signal.unit)} ${unitSign(signal.unit)}`),
        ),
      ),
    );
    if (matching.length === 0) this.list.append(h("li", { class: "hint" }, say("nothingFound")));
    if (matching.length > MOST_SHOWN) this.list.append(h("li", { class: "hint" }, `${say("andMore")} ${matching.length - MOST_SHOWN}`));
    this.markActive();
  }

  private options(): HTMLElement[] {
    return [...this.list.querySelectorAll<HTMLElement>("[role=option]")];
  }

  private key(event: KeyboardEvent): void {
    const options = this.options();
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (this.list.hidden) this.open();
      this.active = Math.max(0, Math.min(options.length - 1, this.active + (event.key === "ArrowDown" ? 1 : -1)));
      this.markActive();
    } else if (event.key === "Enter") {
      event.preventDefault();
      const name = options[Math.max(0, this.active)]?.dataset["name"];
      if (name && !this.list.hidden) this.owner.toggle(name);
    } else if (event.key === "Escape") {
      event.preventDefault();
      this.search.value = "";
      this.close();
    }
  }

  private markActive(): void {
    const options = this.options();
    options.forEach((option, i) => option.classList.toggle("active", i === this.active));
    const active = options[this.active];
    if (active) {
      this.search.setAttribute("aria-activedescendant", active.id);
      active.scrollIntoView({ block: "nearest" });
    }
  }
}
