// Everything the page asks of the server, and the frames in which masks come back.

/** An error that the server told of; `status` is the HTTP status, 0 where it did not answer at all. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (cause) {
    if (cause.name === "AbortError") throw cause;
    throw new Refused("The server does not answer. Is it still running?", 0);
  }
  if (response.status === 409) location.reload(); // the server was begun anew, with other photos
  if (!response.ok) {
    const told = await response.json().catch(() => ({}));
    throw new Refused(told.error ?? `The server answered ${response.status}.`, response.status);
  }
  return response;
}

const json = (body) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

/** Where a photo is changed: it is named by what it is, too, since numbers are others where photos have come or gone. */
const to = ({ number, key }, what, more) => `/api/photos/${number}/${what}?${new URLSearchParams({ of: key, ...more })}`;

export const project = async () => (await ask("/api/project")).json();
export const status = async (photo, told) => (await ask(to(photo, "status"), json({ status: told }))).json();
export const cancel = (photo) => ask(to(photo, "cancel"), json({}));
export const image = async (number, signal) => (await ask(`/api/photos/${number}/image`, { signal })).blob();

/** Brings a picture to the project; returns what it is called there. */
export async function bring(file) {
  const response = await ask(`/api/photos?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
  return response.json();
}

/** Does something with the session of a photo {number, key}; `take` is called with each frame as it comes. `see` is what the screen shows. */
export const act = (photo, action, classes, see, take) =>
  frames(to(photo, "do", { ...(classes && { classes: 1 }), ...(see && { see: see.join(",") }) }), json(action), take);

/** Asks for all that holds of a photo. */
export const state = (number, classes, take) => frames(`/api/photos/${number}/state${classes ? "?classes=1" : ""}`, {}, take);

/** Asks for the network's own mask. */
export const plain = (number, take) => frames(`/api/photos/${number}/plain`, {}, take);

export function exportAddress(kinds, number) {
  const query = new URLSearchParams({ kinds: kinds.join(",") });
  if (number !== null) query.set("photo", number);
  return `/api/export?${query}`;
}

/** Reads frames from an answer while it still comes: 4 bytes of length, a header as JSON, and its parts. */
async function frames(path, options, take) {
  const reader = (await ask(path, options)).body.getReader();
  let held = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reader.read().catch(() => {
      throw new Refused("The server has stopped answering. What was answered is kept; start it again.", 0);
    });
    if (value) held = joined(held, value);
    for (let frame; (frame = firstOf(held)); ) {
      held = held.subarray(frame.length);
      take(frame.header, frame.parts);
    }
    if (done) return;
  }
}

function firstOf(bytes) {
  if (bytes.length < 4) return null;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  if (bytes.length < 4 + length) return null;
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  let at = 4 + length;
  if (bytes.length < header.parts.reduce((sum, part) => sum + part.bytes, at)) return null;
  const parts = header.parts.map((part) => {
    const content = bytes.slice(at, at + part.bytes);
    at += part.bytes;
    return part.layer === "seen" ? { ...part, runs: new Uint32Array(content.buffer) } : { ...part, png: new Blob([content], { type: "image/png" }) };
  });
  return { header, parts, length: at };
}

function joined(first, second) {
  if (!first.length) return second;
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
