// Calls to the desk API. Every failure is an ApiError, so that callers decide by its kind and not by its text.

export class ApiError extends Error {
  constructor(status, detail, data = {}) {
    super(detail || `HTTP ${status}`);
    this.status = status; // 0: no answer at all
    this.data = data; // what the server said, field by field
  }
  // The server may not have seen it, or is in trouble: sending again later may help.
  get isTemporary() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
  get isLogin() {
    // 409: somebody else has logged in meanwhile in another tab; what waits here is not theirs.
    return this.status === 401 || this.status === 409 || (this.status === 403 && /csrf/i.test(this.message));
  }
}

// Whose desk this is: the server refuses what is sent under another person's login.
let person = "";
export const iAm = (user) => (person = String(user));

const csrf = () => document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? "";

export const post = (base, verb, body, options) => call("POST", base + verb, body, options);
export const get = (base, verb) => call("GET", base + verb);

async function call(method, url, body, { keepalive = false, timeout = 15000 } = {}) {
  let response;
  try {
    response = await fetch(url, {
      method,
      headers: { "Content-Type": "application/json", "X-CSRFToken": csrf(), "X-Desk-Person": person },
      body: body && JSON.stringify(body),
      credentials: "same-origin",
      keepalive,
      signal: keepalive ? undefined : AbortSignal.timeout(timeout),
    });
  } catch {
    throw new ApiError(0, "No connection.");
  }
  const data = await response.json().catch(() => {
    // The connection went while the answer came: what it said is not known.
    if (response.ok) throw new ApiError(0, "No connection.");
    return {};
  });
  if (!response.ok) throw new ApiError(response.status, data.detail || JSON.stringify(data).slice(0, 300), data);
  return data;
}

// crypto.randomUUID wants https or localhost; random bytes do not.
export function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
