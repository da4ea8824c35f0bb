/** When something happened that belongs on the curves: codes changed, a request was granted, a picture was frozen. */
import type { RoomState } from "./state";
import { say } from "./words";

/** A vertical line over all charts: when something happened. */
export interface Moment {
  readonly t: number;
  readonly kind: "dtc" | "request" | "cursor" | "still";
  readonly label: string;
  /** What opens when its label is pressed. */
  readonly id?: string;
}

function momentsOf(state: RoomState): Moment[] {
  return state.events.flatMap((event): Moment[] => {
    const t = event.t_us / 1e6;
    if (event.kind === "dtc") return [{ t, kind: "dtc", label: Array.isArray(event.body["changed"]) ? event.body["changed"].join(" ") : say("dtcs") }];
    const still = event.kind === "still" ? state.stills.get(event.id) : undefined;
    if (still) return [{ t: still.tUs / 1e6, kind: "still", label: `▣ ${still.number}`, id: still.id }];
    const granted = event.kind === "decision" && (event.body["decision"] === "approve" || event.body["decision"] === "session");
    return granted ? [{ t, kind: "request", label: state.requests.get(event.id)?.data.slice(0, 12).toUpperCase() ?? "" }] : [];
  });
}

/** The same for as long as nothing happens: charts ask with every frame. */
export class MomentList {
  private moments: Moment[] = [];
  private print = "";

  all(state: RoomState): Moment[] {
    const print = `${state.events.length} ${state.events.at(-1)?.n ?? 0}`;
    if (print !== this.print) {
      this.print = print;
      this.moments = momentsOf(state);
    }
    return this.moments;
  }
}
