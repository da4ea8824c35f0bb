/** A frozen picture on the stage: everybody sees it, who may speak draws on it, one press leads back to the camera. */
import type { Call } from "./call";
import { sayCall } from "./callwords";
import { h, setText } from "./dom";
import { randomId } from "./link";
import { called } from "./people";
import { openPopup } from "./popup";
import { canProve } from "./proof";
import type { RoomState } from "./state";
import { COLOURS, MOST_STROKES, colourFor, drawStrokes, thinned, type Point, type Still } from "./strokes";
import { UploadRefused, uploadFile } from "./upload";
import { refusal, say } from "./words";

/** A long line goes out in pieces, so that the others see it grow. */
const PIECE_MS = 700;
const QUALITY = 0.9;
const MOST_CHARS = 200;

export function mayDraw(state: RoomState): boolean {
  return state.you !== null && state.you.role !== "observer" && state.replay === null;
}

export function clockOf(us: number): string {
  return new Date(us / 1000).toTimeString().slice(0, 8);
}

export function addressOf(state: RoomState, still: Still): string {
  return `${state.path}/files/${still.file}`;
}

interface Drawing {
  readonly pointer: number;
  readonly ids: string[];
  readonly colour: number;
  points: Point[];
  sentAt: number;
}

export class StillView {
  readonly root: HTMLElement;
  private readonly state: RoomState;
  private readonly show: (id: string | null) => void;
  private readonly image = h("img", { alt: "", draggable: "false" });
  private readonly canvas = h("canvas", { tabindex: -1 });
  private readonly sheet: HTMLElement;
  private readonly desk: HTMLElement;
  private readonly title = h("div", { class: "still-title" });
  private readonly legend = h("ul", { class: "still-legend plain", "aria-label": sayCall("drew") });
  private readonly problem = h("p", { class: "problem", role: "alert" });
  private readonly undoButton = h("button", { type: "button", id: "still-undo", click: () => this.undo() }, sayCall("undo"));
  private readonly backButton = h("button", { type: "button", id: "still-back", class: "primary", click: () => this.show(null) });
  private readonly before = h("button", { type: "button", class: "icon boxed", "aria-label": sayCall("earlier"), click: () => this.step(-1) }, "‹");
  private readonly after = h("button", { type: "button", class: "icon boxed", "aria-label": sayCall("later"), click: () => this.step(1) }, "›");
  private readonly sizes: ResizeObserver;
  private still: Still | null = null;
  private drawing: Drawing | null = null;
  /** Lines of this page, by still: what an undo takes back. */
  private readonly own = new Map<string, string[][]>();
  private drawn = "";

  constructor(state: RoomState, show: (id: string | null) => void) {
    this.state = state;
    this.show = show;
    this.sheet = h("div", { class: "still-sheet" }, this.image, this.canvas);
    this.desk = h("div", { class: "still-desk" }, this.sheet);
    this.root = h(
      "div",
      { class: "still", role: "region", "aria-label": sayCall("still"), hidden: true },
      this.desk,
      h("div", { class: "still-foot" }, this.title, this.legend, this.problem),
      h("div", { class: "still-tools" }, this.backButton, this.before, this.after, this.undoButton),
    );
    this.image.addEventListener("load", () => this.fit());
    this.image.addEventListener("error", () => setText(this.problem, sayCall("stillGone")));
    this.canvas.addEventListener("pointerdown", (event) => this.begin(event));
    this.canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const kind of ["pointerup", "pointercancel"] as const) this.canvas.addEventListener(kind, (event) => this.finish(event));
    this.sizes = new ResizeObserver(() => this.fit());
    this.sizes.observe(this.desk);
  }

  destroy(): void {
    this.sizes.disconnect();
  }

  get openId(): string | null {
    return this.still?.id ?? null;
  }

  /** Shows a still of the room, or none. */
  open(id: string | null, inCall: boolean): void {
    const still = id === null ? null : (this.state.stills.get(id) ?? null);
    this.root.hidden = still === null;
    if (still?.id !== this.still?.id) {
      this.drawing = null;
      setText(this.problem, "");
      if (still) {
        this.image.src = addressOf(this.state, still);
        this.image.alt = `${sayCall("still")} ${still.number} · ${called(still.who)}${still.text ? ` · ${still.text}` : ""}`;
      } else this.image.removeAttribute("src");
    }
    this.still = still;
    setText(this.backButton, sayCall(inCall ? "backToCamera" : "closeStill"));
    this.drawn = "";
    this.draw();
  }

  /** Strokes came or went. */
  draw(): void {
    const { still, state } = this;
    if (!still) return;
    const print = `${still.id} ${state.stills.changes} ${this.canvas.width}`;
    if (print === this.drawn) return;
    this.drawn = print;
    this.paint();
    const list = state.stills.list();
    setText(this.title, [`${sayCall("still")} ${still.number}`, still.text, `${called(still.who)} · ${clockOf(still.tUs)}`].filter(Boolean).join(" · "));
    const drawers = new Map(still.strokes.map((stroke) => [stroke.who.id, stroke]));
    this.legend.replaceChildren(
      ...[...drawers.values()].map((stroke) => {
        const dot = h("i", { class: "still-dot", "aria-hidden": "true" });
        dot.style.background = COLOURS[stroke.colour] ?? "";
        return h("li", {}, dot, called(stroke.who));
      }),
      drawers.size === 0 && mayDraw(state) ? h("li", { class: "dim" }, sayCall("drawHint")) : "",
    );
    const at = list.findIndex((one) => one.id === still.id);
    this.before.hidden = this.after.hidden = list.length < 2;
    this.before.disabled = at <= 0;
    this.after.disabled = at >= list.length - 1;
    this.undoButton.hidden = !mayDraw(state);
    this.undoButton.disabled = (this.own.get(still.id) ?? []).length === 0;
    this.canvas.classList.toggle("may-draw", mayDraw(state));
  }

  /** The room has not taken something: where it was one of this page's lines, that is said below the picture. */
  refused(id: string, text: string): HTMLElement | null {
    if (this.drawing?.ids.includes(id)) this.end(this.drawing); // what came after it would hang in the air
    for (const lines of this.own.values()) {
      const line = lines.find((ids) => ids.includes(id));
      if (!line) continue;
      line.splice(line.indexOf(id), 1);
      if (line.length === 0) lines.splice(lines.indexOf(line), 1); // there is nothing of it to undo
      setText(this.problem, text);
      this.drawn = "";
      this.draw();
      return this.problem;
    }
    return null;
  }

  private step(by: number): void {
    const list = this.state.stills.list();
    const next = list[list.findIndex((one) => one.id === this.still?.id) + by];
    if (next) this.show(next.id);
  }

  /** As large as the place allows. */
  private fit(): void {
    const { naturalWidth: width, naturalHeight: height } = this.image;
    const { clientWidth, clientHeight } = this.desk;
    if (!width || !height || !clientWidth || !clientHeight) return;
    const scale = Math.min(clientWidth / width, clientHeight / height);
    this.sheet.style.width = `${Math.floor(width * scale)}px`;
    this.sheet.style.height = `${Math.floor(height * scale)}px`;
    this.canvas.width = Math.floor(width * scale * devicePixelRatio);
    this.canvas.height = Math.floor(height * scale * devicePixelRatio);
    this.drawn = "";
    this.draw();
  }

  private paint(): void {
    const pen = this.canvas.getContext("2d");
    if (!pen || !this.still) return;
    const { width, height } = this.canvas;
    pen.clearRect(0, 0, width, height);
    drawStrokes(pen, this.drawing ? [...this.still.strokes, this.drawing] : this.still.strokes, width, height);
  }

  // -- drawing -----------------------------------------------------------------------------------------------------

  private begin(event: PointerEvent): void {
    if (!this.still || !mayDraw(this.state) || this.drawing || event.button > 0) return;
    event.preventDefault();
    setText(this.problem, "");
    if (this.still.strokes.length >= MOST_STROKES) {
      setText(this.problem, sayCall("strokesFull"));
      return;
    }
    this.canvas.setPointerCapture(event.pointerId);
    this.drawing = { pointer: event.pointerId, ids: [], colour: colourFor(this.still, this.state.you?.id ?? 0), points: [this.pointOf(event)], sentAt: event.timeStamp };
    this.paint();
  }

  private move(event: PointerEvent): void {
    const { drawing } = this;
    if (drawing?.pointer !== event.pointerId) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length > 0 ? events : [event]) drawing.points.push(this.pointOf(one));
    if (event.timeStamp - drawing.sentAt > PIECE_MS) this.send(drawing, event.timeStamp);
    this.paint();
  }

  private finish(event: PointerEvent): void {
    const { drawing } = this;
    if (drawing?.pointer !== event.pointerId) return;
    this.send(drawing, event.timeStamp);
    this.end(drawing);
  }

  /** What was drawn so far is one line, to be undone as one. */
  private end(drawing: Drawing): void {
    this.drawing = null;
    if (this.still) this.own.set(this.still.id, [...(this.own.get(this.still.id) ?? []), drawing.ids]);
    this.drawn = "";
    this.draw();
  }

  /** What was drawn since the last piece; the next one goes on at its end. */
  private send(drawing: Drawing, now: number): void {
    const { still, state } = this;
    const last = drawing.points.at(-1);
    if (!still || !last || !state.you || (drawing.ids.length > 0 && drawing.points.length < 2)) return;
    const points = thinned(drawing.points);
    const id = randomId();
    drawing.ids.push(id);
    state.link.insist({ type: "stroke", id, still: still.id, points, colour: drawing.colour });
    // Seen at once by who draws; the room's own word of it is then the same line again.
    state.stills.take({ type: "event", n: 0, t_us: 0, kind: "stroke", who: state.you, id, text: "", body: { still: still.id, points, colour: drawing.colour } });
    drawing.points = [last];
    drawing.sentAt = now;
  }

  undo(): void {
    const lines = this.still ? this.own.get(this.still.id) : undefined;
    const ids = lines?.pop() ?? [];
    for (const id of ids) {
      this.state.link.tell({ type: "unstroke", id });
      this.state.stills.drop(id);
    }
    this.drawn = "";
    this.draw();
  }

  private pointOf(event: PointerEvent): Point {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }
}

/** Takes what a video shows now, whole, and shows it to the room with a few words. `of`: whose camera it is. */
export function freeze(state: RoomState, call: Call, video: HTMLVideoElement, of: number, anchor: HTMLElement): void {
  if (!mayDraw(state) || !canProve() || !video.videoWidth) return;
  const sheet = h("canvas", { width: video.videoWidth, height: video.videoHeight, class: "still-preview" });
  sheet.getContext("2d")?.drawImage(video, 0, 0);
  const taken = state.link.nowUs();
  const problem = h("p", { class: "problem", role: "alert" });
  const input = h("input", { type: "text", maxlength: MOST_CHARS, placeholder: sayCall("freezeText"), "aria-label": sayCall("freezeText"), autofocus: true });
  const send = h("button", { type: "submit", class: "primary", id: "still-show" }, sayCall("freezeShow"));
  const form = h(
    "form",
    {
      class: "freeze-form",
      submit: (event: SubmitEvent) => {
        event.preventDefault();
        send.disabled = true;
        setText(problem, "");
        picture(sheet)
          .then((blob) => uploadFile(state.path, new File([blob], `still-${taken}.jpg`, { type: "image/jpeg" }), (share) => setText(send, `${Math.round(share * 100)} %`)))
          .then((file) => {
            const id = randomId();
            call.ownStills.add(id);
            state.link.insist({ type: "still", id, file, of, t_us: taken, text: input.value.trim() });
            close();
          })
          .catch((error: unknown) => {
            setText(problem, refusal(error instanceof UploadRefused ? error.code : "other"));
            send.disabled = false;
            setText(send, sayCall("freezeShow"));
          });
      },
    },
    h("div", { class: "popup-title" }, h("strong", {}, sayCall("freezeTitle")), h("time", {}, clockOf(taken))),
    sheet,
    input,
    problem,
    h("div", { class: "row" }, h("button", { type: "button", click: () => close() }, say("cancel")), send),
  );
  const close = openPopup(anchor, sayCall("freezeTitle"), "dialog", form);
}

function picture(sheet: HTMLCanvasElement): Promise<Blob> {
  return new Promise((done, failed) => sheet.toBlob((blob) => (blob ? done(blob) : failed(new Error("no picture"))), "image/jpeg", QUALITY));
}
