/**
 * What ties a decision to the exact bytes and to the technician: the digest of a request, and the HMAC by the secret
 * that only the link's fragment carried. docs/room-page.md draws the layouts; vectors shared with Python pin them.
 */

/** Texts, each behind its length, so that no two lists have the same bytes. */
export function listed(texts: readonly string[]): Uint8Array<ArrayBuffer> {
  const parts = texts.map((text) => new TextEncoder().encode(text));
  const out = new Uint8Array(parts.reduce((sum, part) => sum + 4 + part.length, 0));
  const view = new DataView(out.buffer);
  let at = 0;
  for (const part of parts) {
    view.setUint32(at, part.length);
    out.set(part, at + 4);
    at += 4 + part.length;
  }
  return out;
}

/** False where the browser withholds WebCrypto: on plain http from another machine. */
export function canProve(): boolean {
  return typeof globalThis.crypto?.subtle?.digest === "function";
}

function hex(bytes: ArrayBuffer): string {
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export async function digestOf(room: string, request: { id: string; ecu: string; data: string; hold: boolean; risk: string }): Promise<string> {
  const list = ["huizhen.request/1", room, request.id, request.ecu, request.data.toUpperCase(), request.hold ? "1" : "0", request.risk];
  return hex(await crypto.subtle.digest("SHA-256", listed(list)));
}

/** The 32 bytes of a secret, or null when it is none. */
export function secretBytes(text: string): Uint8Array<ArrayBuffer> | null {
  if (!/^[A-Za-z0-9_-]{43}$/.test(text)) return null;
  const raw = atob(`${text.replaceAll("-", "+").replaceAll("_", "/")}=`);
  return Uint8Array.from(raw, (char) => char.charCodeAt(0));
}

async function proofOf(secret: Uint8Array<ArrayBuffer>, texts: string[]): Promise<string> {
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return hex(await crypto.subtle.sign("HMAC", key, listed(texts)));
}

export function proofOfDecision(secret: Uint8Array<ArrayBuffer>, digest: string, id: string, decision: string, unplugged: boolean): Promise<string> {
  return proofOf(secret, ["huizhen.decision/1", digest, id, decision, unplugged ? "1" : "0"]);
}

export function proofOfHold(secret: Uint8Array<ArrayBuffer>, digest: string, id: string, count: number): Promise<string> {
  return proofOf(secret, ["huizhen.hold/1", digest, id, String(count)]);
}

const PLACE = "huizhen.secret.";

/** Keeps the technician's secret for as long as this tab lives; it is never sent. */
export function keepSecret(room: string, secret: string): void {
  try {
    sessionStorage.setItem(PLACE + room, secret);
  } catch {
    // Storage may be forbidden: then this page can watch, deny and stop, and says so.
  }
}

export function secretOf(room: string): Uint8Array<ArrayBuffer> | null {
  try {
    return secretBytes(sessionStorage.getItem(PLACE + room) ?? "");
  } catch {
    return null;
  }
}
