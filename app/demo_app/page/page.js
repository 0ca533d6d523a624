
const REQUEST_MS = 200; // one request each, GET and POST in turn
const LOOK_MS = 100; // between two looks at the processes
const MESSAGE_MS = 250; // one WebSocket message each
const PATIENCE_MS = 60_000; // without an answer for so long: failed, or lost
const NEW_MS = 4_000; // a process that was just replaced is marked for so long
const FORGET_MS = 3_000; // a process that left and was not replaced
const BARS = 150;

const at = (id) => document.getElementById(id);
const named = (process) => process.release || "unnamed";
const name = (process) => `${process.port} (pid ${process.pid ?? "unknown"})`;

function show(element, text, bad = false) {
  if (element.textContent !== String(text)) element.textContent = text;
  element.classList.toggle("bad", bad);
}

function log(text, bad = false) {
  const item = document.createElement("p");
  const time = document.createElement("time");
  time.textContent = new Date().toTimeString().slice(0, 8);
  item.append(time, " ", text);
  item.classList.toggle("bad", bad);
  at("log").prepend(item);
  while (at("log").children.length > 200) at("log").lastChild.remove();
}

// Requests: all are counted, the quick ones are timed

let answered = 0;
let failed = 0;
const latencies = []; // of the last BARS requests: milliseconds, null where it failed

async function request(path, isRight, options = {}) {
  const isTimed = path === "/hello";
  const began = performance.now();
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const answer = await fetch(path, { cache: "no-store", signal, ...options });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const body = await answer.json();
    if (!isRight(body)) throw new Error("not the right answer");
    answered += 1;
    if (isTimed) latencies.push(performance.now() - began);
    return body;
  } catch (error) {
    failed += 1;
    if (isTimed) latencies.push(null);
    log(`failed: ${options.method ?? "GET"} ${path}: ${error.message}`, true);
    return null;
  } finally {
    latencies.splice(0, latencies.length - BARS);
  }
}

let turn = 0;
setInterval(() => {
  turn += 1;
  request("/hello", (body) => body.hello === "world", { method: turn % 2 ? "GET" : "POST" });
}, REQUEST_MS);

function svg(kind, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

for (const y of [25, 50, 75]) at("strip").append(svg("line", { x1: 0, x2: BARS, y1: y, y2: y }));
const bars = Array.from({ length: BARS }, (_, x) => svg("rect", { x, width: 0.8, y: 100 }));
at("strip").append(...bars);

function percentile(ordered, share) {
  if (ordered.length === 0) return "–";
  const value = ordered[Math.max(0, Math.ceil(share * ordered.length) - 1)];
  return value < 10 ? `${value.toFixed(1)} ms` : `${value.toFixed(0)} ms`;
}

function draw() {
  const empty = BARS - latencies.length;
  bars.forEach((bar, x) => {
    const ms = latencies[x - empty];
    // Four decades, of 25 each; what took less than 1 ms still shows.
    const tall = ms === null ? 100 : Math.min(100, Math.max(2, 25 * Math.log10(ms)));
    const height = ms === undefined ? 0 : tall;
    bar.setAttribute("height", height);
    bar.setAttribute("y", 100 - height);
    bar.classList.toggle("failed", ms === null);
  });
  const ordered = latencies.filter((ms) => ms !== null).sort((a, b) => a - b);
  show(at("answered"), answered.toLocaleString("en"));
  show(at("failed"), failed.toLocaleString("en"), failed > 0);
  show(at("p50"), percentile(ordered, 0.5));
  show(at("p99"), percentile(ordered, 0.99));
}
setInterval(draw, 200);

// Processes

const tiles = new Map(); // by address
let looked = false;

function tileOf(process) {
  let tile = tiles.get(process.listen);
  if (tile === undefined) {
    const element = at("tile").content.firstElementChild.cloneNode(true);
    tile = { element, process: {}, rate: null, said: null, replaced: -Infinity };
    tiles.set(process.listen, tile);
    element.querySelector("h3").textContent = process.port;
    element.dataset.port = process.port;
    const others = [...at("tiles").children];
    const next = others.find((other) => Number(other.dataset.port) > process.port);
    at("tiles").insertBefore(element, next ?? null);
  }
  return tile;
}

function update(process) {
  const tile = tileOf(process);
  const before = tile.process;
  const now = performance.now();
  if (before.state && before.pid !== process.pid && before.pid && process.pid) {
    const isSame = before.release === process.release;
    const release = isSame ? "" : `, release ${named(before)} → ${named(process)}`;
    log(`${process.port}: pid ${before.pid} → ${process.pid}${release}`);
    tile.replaced = now;
  }
  // Those of the first look are no news; one on trial comes and goes.
  const isNews = before.state ? before.state !== process.state : looked;
  if (isNews) log(`${name(process)}: ${process.state}`);
  // Its own count over its own time, both as it said.
  if (before.pid !== process.pid) tile.said = null;
  if (process.uptime !== undefined) {
    const said = tile.said;
    if (said && process.uptime - said.uptime >= 1) {
      tile.rate = (process.answered - said.answered) / (process.uptime - said.uptime);
    } else if (!said) {
      tile.rate = null;
    }
    if (!said || process.uptime - said.uptime >= 1) tile.said = process;
  }
  tile.process = process;
  tile.seen = now;

  const { element } = tile;
  const part = (kind) => element.querySelector(`.${kind}`);
  element.dataset.state = process.state;
  element.dataset.pid = process.pid ?? "";
  element.classList.toggle("new", now - tile.replaced < NEW_MS);
  const told = process.uptime !== undefined;
  show(part("state"), process.state);
  show(part("pid"), process.pid ?? "–");
  show(part("release"), process.release || "–");
  show(part("in-flight"), told ? process.in_flight : "–");
  show(part("rate"), told && tile.rate !== null ? tile.rate.toFixed(1) : "–");
}

async function look() {
  const body = await request("/processes", (answer) => Array.isArray(answer.processes));
  if (body === null) {
    show(at("summary"), "No process answers.", true);
    for (const [listen, { process, seen }] of tiles) {
      const { port, pid, release } = process;
      update({ listen, port, pid, release, state: "unknown" });
      tiles.get(listen).seen = seen;
    }
  } else {
    body.processes.forEach(update);
    looked = true;
    const seen = new Set(body.processes.map((process) => process.listen));
    const now = performance.now();
    for (const [listen, tile] of tiles) {
      if (seen.has(listen)) continue;
      if (now - tile.seen > FORGET_MS) {
        log(`${tile.process.port}: gone`);
        tile.element.remove();
        tiles.delete(listen);
      } else if (tile.process.state !== "down") {
        const { port, pid, release } = tile.process;
        const last = tile.seen;
        update({ listen, port, pid, release, state: "down" });
        tile.seen = last;
      }
    }
    const all = [...tiles.values()];
    const serving = all.filter((tile) => tile.process.state === "serving");
    const releases = new Set(serving.map((tile) => named(tile.process)));
    const which = [...releases].join(" and ") || "unknown";
    show(at("summary"), `${serving.length} of ${all.length} processes serve, release ${which}.`);
  }
  setTimeout(look, body === null ? 10 * LOOK_MS : LOOK_MS);
}
look();

// The WebSocket: what was not answered when it is moved is sent again.

let socket = null;
let holder = null;
let number = 0;
let messages = 0;
let lost = 0;
let moved = 0;
let cut = 0;
const waiting = new Map(); // number -> when it was first sent

function connect() {
  const opening = new WebSocket(new URL("/ws", location).href.replace("http", "ws"));
  let open = false;
  opening.onopen = () => {
    open = true;
    socket = opening;
    for (const message of waiting.keys()) socket.send(message);
  };
  opening.onmessage = (event) => {
    const body = JSON.parse(event.data);
    if (holder?.pid !== body.pid || holder?.port !== body.port) {
      if (holder) log(`the WebSocket moved: ${name(holder)} → ${name(body)}`);
      holder = body;
    }
    show(at("held"), `Held by ${name(body)}, release ${named(body)}.`);
    if ("echo" in body && waiting.delete(Number(body.echo))) messages += 1;
  };
  opening.onclose = (event) => {
    socket = null;
    if (open && event.code === 1001) moved += 1;
    else if (open) {
      cut += 1;
      log(`the WebSocket was cut, code ${event.code}`, true);
    }
    show(at("held"), "Connecting …");
    setTimeout(connect, open ? Math.random() * 100 : 1000);
  };
}
connect();

setInterval(() => {
  number += 1;
  waiting.set(number, performance.now());
  // One that is closing would drop it: it is sent again on the next.
  if (socket?.readyState === WebSocket.OPEN) socket.send(number);
  for (const [message, since] of waiting) {
    if (performance.now() - since < PATIENCE_MS) break;
    waiting.delete(message);
    lost += 1;
    log(`message ${message} had no answer`, true);
  }
  show(at("messages"), messages.toLocaleString("en"));
  show(at("lost"), lost, lost > 0);
  show(at("moved"), moved);
  show(at("cut"), cut, cut > 0);
}, MESSAGE_MS);
