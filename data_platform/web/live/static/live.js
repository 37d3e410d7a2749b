// Keeps the live page live: takes the parts that the server sends and puts in place those that changed.
// When the connection is gone it says so, and comes back by itself.
"use strict";

const SILENT_MS = 5000; // the server sends at least once a second
const LONGEST_WAIT_MS = 10000;

const live = document.getElementById("live");
const connection = document.getElementById("connection");
const address = new URL(live.dataset.socket, location.href);
address.protocol = location.protocol === "https:" ? "wss:" : "ws:";

let tries = 0;

function say(text, state) {
  if (connection.textContent !== text) connection.textContent = text;
  connection.className = `badge ${state}`;
}

function show(html) {
  const sent = document.createElement("template");
  sent.innerHTML = html;
  const parts = [...sent.content.querySelectorAll("section[id]")];
  const known = [...live.querySelectorAll("section[id]")];
  if (known.map((part) => part.id).join() !== parts.map((part) => part.id).join()) {
    live.replaceChildren(sent.content);
    return;
  }
  parts.forEach((part, place) => {
    if (known[place].innerHTML !== part.innerHTML) known[place].innerHTML = part.innerHTML;
  });
}

function connect() {
  const socket = new WebSocket(address);
  let silence = 0;
  const expect = () => {
    clearTimeout(silence);
    silence = setTimeout(() => socket.close(), SILENT_MS);
  };
  expect();
  socket.onmessage = (message) => {
    tries = 0;
    expect();
    say("● live", "ok");
    show(message.data);
  };
  socket.onclose = () => {
    clearTimeout(silence);
    say("✗ not live, connecting again", "failed");
    const wait = Math.min(LONGEST_WAIT_MS, 500 * 2 ** tries++);
    setTimeout(connect, wait * (0.5 + Math.random() / 2));
  };
}

say("connecting", "");
connect();
