/** A file into the room: in pieces, named by its SHA-256, so that a cut costs one piece and the same file is sent once. Photos go without their place. */
import { PictureBroken, withoutPlace } from "./photo";

const PIECE_BYTES = 1_000_000;
const ATTEMPTS = 6;

export const MOST_BYTES = 64_000_000;

export class UploadRefused extends Error {
  readonly code: string;

  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

interface Answer {
  offset?: number;
  complete?: boolean;
  error?: string;
}

/** Returns the file's SHA-256. Throws UploadRefused with the service's code, or `unreachable` when it does not come back. */
export async function uploadFile(path: string, file: File, progress: (share: number) => void): Promise<string> {
  if (file.size === 0 || file.size > MOST_BYTES) throw new UploadRefused("consult.too-much");
  try {
    file = await withoutPlace(file);
  } catch (error) {
    throw error instanceof PictureBroken ? new UploadRefused("pictureBroken") : error;
  }
  const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  const name = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
  let offset = 0;
  let failures = 0;
  while (true) {
    const query = new URLSearchParams({ offset: String(offset), size: String(file.size), name: file.name });
    let status: number;
    let answer: Answer;
    try {
      const response = await fetch(`${path}/files/${name}?${query}`, {
        method: "PUT",
        headers: { "Content-Type": "application/octet-stream" },
        body: file.slice(offset, offset + PIECE_BYTES),
      });
      status = response.status;
      answer = (await response.json()) as Answer;
    } catch {
      if (++failures >= ATTEMPTS) throw new UploadRefused("unreachable");
      await new Promise((resolve) => setTimeout(resolve, 500 * failures));
      continue;
    }
    // Elsewhere than we thought: the service says where to go on.
    if (status !== 200 && !(status === 409 && typeof answer.offset === "number" && answer.offset !== offset)) throw new UploadRefused(answer.error ?? "other");
    failures = 0;
    offset = answer.offset ?? file.size;
    progress(offset / file.size);
    if (answer.complete === true) return name;
  }
}
