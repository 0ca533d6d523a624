"use strict";
const list = document.getElementById("messages");
const state = document.getElementById("state");
const waiting = new Map(); // key -> [text, its line]: said, and not known to be stored
let last = ""; // the number of the last message
let socket;

function line(text) {
  const item = list.appendChild(document.createElement("li"));
  item.textContent = text;
  return item;
}

function connect() {
  const url = new URL(`chat?after=${last}`, location);
  url.protocol = url.protocol.replace("http", "ws");
  socket = new WebSocket(url);
  socket.onopen = () => {
    state.textContent = "";
    // Again, under the same key: if it is stored already, it is not stored twice.
    for (const [key, [text]] of waiting) socket.send(JSON.stringify({ key, text }));
  };
  socket.onmessage = (event) => {
    const { number, key, text } = JSON.parse(event.data);
    last = number;
    waiting.get(key)?.[1].remove();
    waiting.delete(key);
    line(text);
  };
  socket.onclose = ({ code }) => {
    state.textContent = "connecting …";
    // 1001: its process is leaving, and others are there.
    // With any other code the server may be down: go easy on it.
    setTimeout(connect, code === 1001 ? 0 : 500 + 1000 * Math.random());
  };
}

document.getElementById("form").onsubmit = (event) => {
  event.preventDefault();
  const field = document.getElementById("text");
  const text = field.value.trim();
  if (!text) return;
  const numbers = crypto.getRandomValues(new Uint32Array(4));
  const key = Array.from(numbers, (n) => n.toString(16)).join("-");
  const item = line(text);
  item.className = "waiting";
  waiting.set(key, [text, item]);
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ key, text }));
  field.value = "";
};

connect();
