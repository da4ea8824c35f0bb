/** All signals of the car's streams by the name they have on the page. */
import type { Report, Signal } from "./protocol";
import type { StreamStore } from "./store";

export interface Found {
  readonly store: StreamStore;
  readonly index: number;
  /** The name on the page; differs from the signal's own where two messages use the same. */
  readonly name: string;
  readonly own: string;
  readonly unit: string;
  readonly message: string;
}

export function findSignals(streams: Iterable<StreamStore>): Map<string, Found> {
  const found = new Map<string, Found>();
  for (const store of streams) {
    store.signals.forEach((signal: Signal, index) => {
      const message = signal.message ?? "";
      let name = signal.name;
      // Cells often come twice: among all signals, and as a stream of their own. They are one signal to people.
      const same = found.get(name);
      if (same && store.kind === "cells" && same.message === message && same.unit === signal.unit) return;
      if (found.has(name)) name = message ? `${message}.${name}` : `${store.id}.${name}`;
      for (let again = 2; found.has(name); again++) name = `${signal.name} (${again})`;
      found.set(name, { store, index, name, own: signal.name, unit: signal.unit, message });
    });
  }
  return found;
}

/** The name on the page of a stream's signal. */
export function pageName(found: ReadonlyMap<string, Found>, stream: number, own: string): string | null {
  for (const signal of found.values()) if (signal.store.id === stream && signal.own === own) return signal.name;
  return null;
}

/** The signals that a finding's evidence means: "PackVoltage" itself, "CellVoltage 90/91" two of a family. */
export function namedSignals(ref: string, names: readonly string[]): string[] {
  if (names.includes(ref)) return [ref];
  const [, family, numbers] = /^(\D+?)[ _]*(\d+(?:\/\d+)*)$/.exec(ref) ?? [];
  if (family === undefined || numbers === undefined) return [];
  const wanted = numbers.split("/").map(Number);
  return names.filter((name) => {
    const [, stem, number] = /^(.*?)_?0*(\d+)$/.exec(name) ?? [];
    return stem?.toLowerCase() === family.toLowerCase() && wanted.includes(Number(number));
  });
}

/** What an expert looks at first in an electric car, where the car has it; what the findings name comes before. */
const FIRST = [/^pack_?voltage$/i, /^pack_?current$/i, /cell_?voltage_?0*1$/i, /state_?of_?charge|^soc$/i, /insulation/i];

export function firstChoice(report: Report, names: readonly string[]): string[] {
  const weakest = report.battery?.weakest?.cell;
  const cell = names.filter((name) => weakest !== undefined && new RegExp(`cell_?voltage_?0*${weakest}$`, "i").test(name));
  const named = (report.findings ?? [])
    .flatMap((finding) => finding.evidence)
    .filter((evidence) => evidence.kind === "signal")
    .flatMap((evidence) => namedSignals(evidence.ref, names));
  const usual = FIRST.flatMap((pattern) => names.find((name) => pattern.test(name)) ?? []);
  const choice = [...new Set([...cell, ...named.slice(0, 3), ...usual])].slice(0, 5);
  return choice.length > 0 ? choice : names.slice(0, 3);
}
