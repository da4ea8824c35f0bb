/** Small things that float over the page: they close with Escape, with a press elsewhere, and give the focus back. */
import { h } from "./dom";

let closeOpen: (() => void) | null = null;

export function closePopup(): void {
  closeOpen?.();
}

/** Opens content near a point or below an element; what was open closes. Returns how to close it. */
export function openPopup(anchor: HTMLElement | { x: number; y: number }, label: string, role: "dialog" | "menu", ...content: (Node | null)[]): () => void {
  closeOpen?.();
  const before = document.activeElement instanceof HTMLElement ? document.activeElement : null;
  const box = h("div", { class: `popup ${role}`, role, "aria-label": label, tabindex: -1 }, ...content);
  document.body.append(box);
  place(box, anchor);
  const outside = (event: Event) => {
    if (!box.contains(event.target as Node)) close();
  };
  const close = () => {
    if (closeOpen !== close) return;
    closeOpen = null;
    const inside = box.contains(document.activeElement);
    box.remove();
    document.removeEventListener("pointerdown", outside, true);
    if (inside && before?.isConnected) before.focus();
  };
  closeOpen = close;
  document.addEventListener("pointerdown", outside, true);
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.preventDefault();
      close();
    } else if (role === "menu" && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      const items = [...box.querySelectorAll<HTMLElement>("button:not(:disabled)")];
      const here = items.indexOf(document.activeElement as HTMLElement);
      items[(here + (event.key === "ArrowDown" ? 1 : -1) + items.length) % items.length]?.focus();
    }
    event.stopPropagation();
  });
  (box.querySelector<HTMLElement>("[autofocus], input, textarea, button, select") ?? box).focus();
  return close;
}

function place(box: HTMLElement, anchor: HTMLElement | { x: number; y: number }): void {
  const margin = 8;
  const at = anchor instanceof HTMLElement ? anchor.getBoundingClientRect() : { left: anchor.x, right: anchor.x, top: anchor.y, bottom: anchor.y + 10 };
  const { offsetWidth: width, offsetHeight: height } = box;
  const left = Math.max(margin, Math.min(at.left, window.innerWidth - width - margin));
  const below = at.bottom + 4;
  const top = below + height + margin <= window.innerHeight ? below : Math.max(margin, at.top - height - 4);
  box.style.left = `${left}px`;
  box.style.top = `${top}px`;
}
