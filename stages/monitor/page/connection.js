// Requests and the stream of events. A token is asked for where one is needed, and kept only as long as the tab.

const KEY = 'alluvium-token';
/** Milliseconds between tries to connect: the first ones are near to each other. */
const PAUSES = [500, 1000, 2000, 3000, 5000];
/** The server tells its state every second; so long a silence is a lost connection. */
const SILENCE = 10000;

let asking = null;
let token = null;
try {
  token = sessionStorage.getItem(KEY);
} catch {
  // A browser that keeps nothing asks again after a reload.
}

/** What a server said instead of an answer. */
export class Refused extends Error {}

/**
 * Requests `api/PATH`; asks for the token when it is refused without a right one. `askToken(wrong)` resolves to text or `null`.
 */
export async function request(path, options, askToken) {
  for (;;) {
    const used = token;
    const headers = { ...options.headers, ...(used ? { Authorization: `Bearer ${used}` } : {}) };
    const answer = await fetch(`api/${path}`, { cache: 'no-store', ...options, headers }).catch(() => {
      throw new Refused('the server cannot be reached');
    });
    if (answer.status !== 401) return answer;
    // Another request may have asked meanwhile.
    if (token !== used) continue;
    asking ??= askToken(used != null).finally(() => (asking = null));
    const given = await asking;
    if (given == null) throw new Refused('this needs the token of the run');
    token = given;
    try {
      sessionStorage.setItem(KEY, given);
    } catch {
      // As above.
    }
  }
}

/** The same as a document; `null` where there is nothing. */
export async function json(path, options, askToken) {
  const answer = await request(path, options, askToken);
  if (answer.ok) return answer.status === 204 ? null : answer.json().catch(() => null);
  const text = await answer.text();
  let said = text;
  try {
    said = JSON.parse(text).error ?? text;
  } catch {
    // It is plain text.
  }
  throw new Refused(said.trim() || `the server answered ${answer.status}`);
}

/** Cuts a stream of server-sent events into `[name, data]`. */
export function parser(tell) {
  let rest = '';
  let name = 'message';
  let data = [];
  return (text) => {
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === '') {
        if (data.length) tell(name, data.join('\n'));
        [name, data] = ['message', []];
        continue;
      }
      const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
      if (field === 'event') name = value;
      else if (field === 'data') data.push(value);
    }
  };
}

/**
 * Follows `api/events` for ever, also over restarts of the process. `handlers`: `open()` before the stream is read, which may
 * request documents; `event(name, document)`; `lost(reason)`, which says how many
 * milliseconds to wait at least; `askToken`.
 */
export async function follow(handlers) {
  for (let tries = 0; ; tries += 1) {
    const abort = new AbortController();
    let timer;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), SILENCE);
    };
    let reason = 'the connection was closed';
    try {
      const stream = await request(
        'events',
        { signal: abort.signal, headers: { Accept: 'text/event-stream' } },
        handlers.askToken,
      );
      if (!stream.ok) throw new Refused(`the server answered ${stream.status}`);
      await handlers.open();
      alive();
      const decoder = new TextDecoder();
      const read = parser((name, data) => {
        tries = 0;
        handlers.event(name, JSON.parse(data));
      });
      const reader = stream.body.getReader();
      // A stream that breaks off has ended, too.
      const next = () => reader.read().catch(() => ({ done: true }));
      for (let part = await next(); !part.done; part = await next()) {
        alive();
        read(decoder.decode(part.value, { stream: true }));
      }
    } catch (error) {
      reason = error.message;
      if (!(error instanceof Refused)) console.error(error);
    }
    if (abort.signal.aborted) reason = `nothing was heard for ${SILENCE / 1000} s`;
    clearTimeout(timer);
    abort.abort();
    const pause = Math.max(handlers.lost(reason), PAUSES[Math.min(tries, PAUSES.length - 1)]);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
