/** What can be done with one curve: another chart, a mark, away with it. */
import type { Arrangement } from "./arrange";
import { h } from "./dom";
import { openPopup } from "./popup";
import { say } from "./words";

export function openSignalMenu(arrangement: Arrangement, name: string, anchor: HTMLElement, changed: () => void, mark: () => void): void {
  const run = (action: () => void) => () => {
    close();
    action();
    changed();
  };
  const others = arrangement.charts.filter((chart) => !chart.names.includes(name));
  const entry = (text: string, click: () => void) => h("button", { type: "button", click }, text);
  const close = openPopup(
    anchor,
    name,
    "menu",
    entry(say("ownChart"), run(() => arrangement.move(name, null))),
    ...others.map((chart) =>
      entry(`${say("moveTo")} ${chart.names[0] ?? say("emptyChart")}${chart.names.length > 1 ? " …" : ""}`, run(() => arrangement.move(name, chart.id))),
    ),
    entry(say("markThis"), () => {
      close();
      mark();
    }),
    entry(say("remove"), run(() => arrangement.remove(name))),
  );
}
