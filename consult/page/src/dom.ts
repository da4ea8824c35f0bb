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

/** A number as an engineer reads it: as many digits as its unit is measured in. */
export function digits(value: number, unit: string): string {
  if (Number.isNaN(value)) return "–";
  const places =
    unit === "V" && Math.abs(value) < 10 ? 3 : unit === "%" || Math.abs(value) >= 100 ? 1 : Math.abs(value) >= 10 ? 2 : 3;
  return Number.isInteger(value) && unit === "" ? String(value) : value.toFixed(places);
}
