// Keeps a page that is watched as it is now: takes the parts that the server sends and puts in place what changed of
// them. When the connection is gone it says so, and comes back by itself. Not here: drawing (charts.js).
"use strict";
(() => {
  const SILENT_MS = 5000; // the server sends at least once a second
  const LONGEST_WAIT_MS = 10000;

  const watched = document.getElementById("watched");
  const connection = document.getElementById("connection");
  const address = new URL(watched.dataset.socket, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";

  let tries = 0;

  function say(text, state) {
    if (connection.textContent !== text) connection.textContent = text;
    connection.className = `badge ${state}`;
  }

  // What is the same stays: what is selected, scrolled to, opened, or drawn by scripts.
  function renew(known, sent) {
    if (known.isEqualNode(sent)) return;
    if (known.nodeName !== sent.nodeName || known.id !== sent.id) {
      known.replaceWith(sent);
      return;
    }
    if (known.nodeType !== Node.ELEMENT_NODE) {
      known.data = sent.data;
      return;
    }
    if ("drawn" in known.dataset) return;
    for (const { name, value } of [...sent.attributes]) {
      if (name !== "open" && known.getAttribute(name) !== value) known.setAttribute(name, value);
    }
    for (const { name } of [...known.attributes]) {
      if (name !== "open" && !sent.hasAttribute(name)) known.removeAttribute(name);
    }
    renewAll(known, sent);
  }

  function renewAll(known, sent) {
    const before = [...known.childNodes];
    const now = [...sent.childNodes];
    now.forEach((node, place) => (before[place] ? renew(before[place], node) : known.append(node)));
    before.slice(now.length).forEach((node) => node.remove());
  }

  function show(html) {
    const sent = document.createElement("template");
    sent.innerHTML = `\n${html}\n`;
    renewAll(watched, sent.content);
    document.dispatchEvent(new Event("renewed"));
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
})();
