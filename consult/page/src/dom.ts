/** Elements without a framework. Text is always set as text: nothing here parses markup. */

type Child = Node | string | null | false | undefined;
type Props = Record<string, string | number | boolean | null | undefined | ((event: never) => void)>;

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value as EventListener);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child !== null && child !== false && child !== undefined) element.append(child);
  return element;
}

export function setText(node: Node, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

/** How many are new behind a button; nothing is written for none. */
export function setCount(button: HTMLElement, count: number): void {
  if (count > 0) button.dataset["count"] = String(count);
  else delete button.dataset["count"];
}

/** Digits behind the point by unit, for values below ten, below a hundred, and from there on. */
const PLACES: Record<string, readonly [number, number, number]> = {
  V: [3, 2, 1],
  mV: [1, 0, 0],
  A: [2, 1, 1],
  "%": [1, 1, 1],
  "km/h": [1, 1, 1],
  degC: [1, 1, 1],
  kOhm: [1, 1, 0],
  kW: [2, 1, 1],
};

/** A number as an engineer reads it: as many digits as its unit is measured in. */
export function digits(value: number, unit: string): string {
  if (Number.isNaN(value)) return "–";
  if (unit === "" && Number.isInteger(value)) return String(value);
  const [small, middle, large] = PLACES[unit] ?? [3, 2, 1];
  const size = Math.abs(value);
  return value.toFixed(size < 10 ? small : size < 100 ? middle : large);
}

/** A unit as it is printed, from how databases spell it. */
export function unitSign(unit: string): string {
  return { kOhm: "kΩ", Ohm: "Ω", MOhm: "MΩ", degC: "°C", degF: "°F" }[unit] ?? unit;
}
