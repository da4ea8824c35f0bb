/** Fingers on a chart: one moves time, two zoom it, one that stays points. */

export interface TouchOwner {
  pan(pixels: number): void;
  zoom(factor: number, x: number): void;
  hold(x: number, y: number): void;
}

const HOLD_MS = 550;
const STILL_PX = 8;

export function listenToTouch(element: HTMLElement, owner: TouchOwner): void {
  const fingers = new Map<number, { x: number; y: number }>();
  let timer = 0;
  let start: { x: number; y: number } | null = null;
  let sideways = false;
  const release = (event: PointerEvent) => {
    fingers.delete(event.pointerId);
    window.clearTimeout(timer);
    sideways = false;
  };
  element.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "touch") return;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    window.clearTimeout(timer);
    start = { x: event.clientX, y: event.clientY };
    if (fingers.size === 1) timer = window.setTimeout(() => start && owner.hold(start.x, start.y), HOLD_MS);
  });
  element.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    if (start && Math.hypot(now.x - start.x, now.y - start.y) > STILL_PX) {
      window.clearTimeout(timer);
      sideways ||= Math.abs(now.x - start.x) > Math.abs(now.y - start.y);
    }
    if (fingers.size === 1 && sideways) owner.pan(now.x - before.x);
    if (fingers.size === 2) {
      const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
      if (other) {
        const was = Math.max(20, Math.abs(before.x - other.x));
        const is = Math.max(20, Math.abs(now.x - other.x));
        if (was !== is) owner.zoom(was / is, (now.x + other.x) / 2);
      }
    }
    fingers.set(event.pointerId, now);
  });
  for (const kind of ["pointerup", "pointercancel", "pointerleave"] as const) element.addEventListener(kind, release as EventListener);
}
