// All requests to the server, and the frames in which masks come back.

/** An error response; `status` is the HTTP status, 0 where there was no response. */
export class RequestError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (cause) {
    if (cause.name === "AbortError") throw cause;
    throw new RequestError("The server does not respond. Is it still running?", 0);
  }
  if (response.status === 409) location.reload(); // the server was restarted, with other photos
  if (!response.ok) {
    const content = await response.json().catch(() => ({}));
    throw new RequestError(content.error ?? `The server responded with status ${response.status}.`, response.status);
  }
  return response;
}

const json = (body) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

/** The address of a request that changes a photo: with its key, since its number changes when photos are added or removed. */
const address = ({ number, key }, what, more) => `/api/photos/${number}/${what}?${new URLSearchParams({ key, ...more })}`;

export const project = async () => (await request("/api/project")).json();
export const status = async (photo, value) => (await request(address(photo, "status"), json({ status: value }))).json();
export const cancel = (photo) => request(address(photo, "cancel"), json({}));
export const lessons = async () => (await request("/api/lessons")).json();
export const service = async () => (await request("/api/service")).json();
export const next = async (number) => (await (await request(`/api/next?after=${number}`)).json()).number;
export const image = async (number, signal) => (await request(`/api/photos/${number}/image`, { signal })).blob();

/** Adds a picture to the project; returns its entry there. */
export async function upload(file) {
  const response = await request(`/api/photos?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
  return response.json();
}

/** Sends an action for a photo {number, key}; `take` gets each frame as it comes. `viewport` is the part of the photo on the screen, `cut` the slice of a volume. */
export const act = (photo, action, { classes, viewport, cut }, take) =>
  frames(address(photo, "do", { ...(classes && { classes: 1 }), ...(viewport && { viewport: viewport.join(",") }), ...(cut && { cut }) }), json(action), take);

/** Requests the full state of a photo. */
export const state = (number, { classes, cut }, take) => frames(`/api/photos/${number}/state${classes ? "?classes=1" : cut ? `?cut=${cut}` : ""}`, {}, take);

/** Requests the network's own mask, before any interaction. */
export const initial = (number, cut, take) => frames(`/api/photos/${number}/initial${cut ? `?cut=${cut}` : ""}`, {}, take);

/** How a volume is cut, and its window of values. */
export const volume = async (number, signal) => (await request(`/api/photos/${number}/volume`, { signal })).json();

/** The picture of a slice "axis,index", in a window of values. */
export const slice = async (number, cut, window) => (await request(`/api/photos/${number}/slice?${new URLSearchParams({ cut, window })}`)).blob();

/** Requests the mask of a slice, and with `uncertainty` how uncertain it is. */
export const mask = (number, cut, uncertainty, take) => frames(`/api/photos/${number}/mask?cut=${cut}${uncertainty ? "&uncertainty=1" : ""}`, {}, take);

export function exportAddress(kinds, number) {
  const query = new URLSearchParams({ kinds: kinds.join(",") });
  if (number !== null) query.set("photo", number);
  return `/api/export?${query}`;
}

/** Reads frames from a response while it still comes: 4 bytes of length, a header as JSON, and its parts. */
async function frames(path, options, take) {
  const reader = (await request(path, options)).body.getReader();
  let received = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reader.read().catch(() => {
      throw new RequestError("The server has stopped. Finished results are kept; start it again.", 0);
    });
    if (value) received = joined(received, value);
    for (let frame; (frame = firstOf(received)); ) {
      received = received.subarray(frame.length);
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
  let offset = 4 + length;
  if (bytes.length < header.parts.reduce((sum, part) => sum + part.bytes, offset)) return null;
  const parts = header.parts.map((part) => {
    const content = bytes.slice(offset, offset + part.bytes);
    offset += part.bytes;
    return part.layer === "viewport" ? { ...part, runs: new Uint32Array(content.buffer) } : { ...part, png: new Blob([content], { type: "image/png" }) };
  });
  return { header, parts, length: offset };
}

function joined(first, second) {
  if (!first.length) return second;
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
