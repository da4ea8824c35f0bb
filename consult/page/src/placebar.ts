/** Where the technician's car is in the queue, and the button that asks the service for an expert. */
import "./placebar.css";
import { h, setText } from "./dom";
import { ask, problemOf, word } from "./lobbywords";
import type { RoomEvent } from "./protocol";
import type { RoomState } from "./state";
import { lang } from "./words";

interface Place {
  state: "none" | "waiting" | "offered" | "open" | "accepted" | "ended";
  can_escalate: boolean;
  place: number | null;
  estimate_s: number | null;
  on_duty: number;
  severity: string | null;
  expert: string;
}

const AGAIN_MS = 5000;

/** `third in line, about 2 min`, as the terminal says it. */
export function placeText(place: number, estimateS: number | null): string {
  const ordinals: Record<number, string> = { 1: "first", 2: "second", 3: "third" };
  const where = lang() === "zh" ? `排在第 ${place} 位` : `${ordinals[place] ?? `number ${place}`} in line`;
  if (estimateS === null) return where;
  const minutes = Math.max(1, Math.round(estimateS / 60));
  return lang() === "zh" ? `${where}，约 ${minutes} 分钟` : `${where}, about ${minutes} min`;
}

/** What the talk says of a step of the queue; null for what is of no interest there. */
export function queueSentence(event: RoomEvent): string | null {
  const expert = typeof event.body["expert"] === "string" && event.body["expert"] ? event.body["expert"] : word("anExpert");
  switch (event.body["step"]) {
    case "queued":
      return word("stepQueued");
    case "accepted":
      return `${expert} ${word("hasTaken")}`;
    case "handed-back":
      return word("stepBack");
    case "escalated":
      return word("stepEscalated");
    case "first-finding":
      return word("stepFinding");
    default:
      return null;
  }
}

export class PlaceBar {
  readonly root = h("section", { class: "place-bar", role: "status", hidden: true });
  private readonly state: RoomState;
  private readonly text = h("span", { class: "place-text" });
  private readonly hint = h("span", { class: "dim place-hint" }, word("askHint"));
  private readonly problem = h("span", { class: "problem", role: "alert" });
  private readonly button = h("button", { type: "button", class: "primary", id: "ask-expert", click: () => void this.escalate() }, word("askExpert"));
  private askedAt = -AGAIN_MS;
  private asking = false;

  constructor(state: RoomState) {
    this.state = state;
    this.root.append(this.text, this.hint, this.problem, this.button);
  }

  /** Twice a second; asks the service now and then, for the technician only. */
  tick(now: number): void {
    if (this.state.you?.role !== "technician" || this.state.replay || this.asking || now - this.askedAt < AGAIN_MS) return;
    void this.refresh(now);
  }

  /** Something happened to the car in the queue. */
  happened(): void {
    this.askedAt = -AGAIN_MS;
  }

  private async refresh(now: number): Promise<void> {
    this.askedAt = now;
    this.asking = true;
    const answer = await ask<Place>(`${this.state.path}/queue`);
    this.asking = false;
    if (answer.status === 200 && answer.body) this.draw(answer.body);
  }

  private async escalate(): Promise<void> {
    this.button.disabled = true;
    const answer = await ask<Place>(`${this.state.path}/escalate`, { language: lang() });
    this.button.disabled = false;
    setText(this.problem, answer.status === 200 ? "" : problemOf(answer));
    if (answer.status === 200 && answer.body) this.draw(answer.body);
  }

  private draw(place: Place): void {
    const isAsking = place.state === "none";
    this.root.hidden = (isAsking && !place.can_escalate) || place.state === "ended";
    this.root.setAttribute("data-state", place.state);
    this.root.setAttribute("data-severity", place.severity ?? "");
    this.button.hidden = this.hint.hidden = !isAsking;
    setText(this.text, isAsking ? "" : this.sentence(place));
  }

  private sentence(place: Place): string {
    if (place.state === "accepted") return `${place.expert || word("anExpert")} ${word("hasTaken")}`;
    const where = place.place === null ? word("inLine") : placeText(place.place, place.estimate_s);
    const how = !place.on_duty ? word("nobody") : place.state === "offered" ? word("beingAsked") : place.state === "open" ? word("everybodyAsked") : "";
    return how ? `${where} · ${how}` : where;
  }
}
