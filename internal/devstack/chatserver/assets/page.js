"use strict";

const stream = document.getElementById("stream");
const dialog = document.getElementById("confirm");
const toast = document.getElementById("toast");
const me = document.body.dataset.me;

// Dates are shown in the reader's zone, as Slack does; "{time}" alone is a message's own time.
function localDates(root) {
  for (const t of root.querySelectorAll("time[data-format]")) {
    const at = new Date(t.dateTime);
    const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    if (t.dataset.format === "{time}") {
      t.textContent = time;
      continue;
    }
    const days = Math.round((new Date(at).setHours(0, 0, 0, 0) - new Date().setHours(0, 0, 0, 0)) / 86400000);
    const day = { "-1": "yesterday", 0: "today", 1: "tomorrow" }[days]
      ?? at.toLocaleDateString([], { month: "short", day: "numeric", year: "numeric" });
    t.title = t.textContent;
    t.textContent = t.dataset.format.replace("{date_short_pretty}", day).replace("{time}", time);
  }
}

function fieldKey(input) {
  return input.closest(".message").dataset.ts + " " + input.dataset.input;
}

let shown = "";

// What someone is typing survives a change of the stream.
function replaceStream(html) {
  if (html === shown) return;
  shown = html;
  const typed = new Map();
  for (const input of stream.querySelectorAll("input")) {
    typed.set(fieldKey(input), [input.value, input === document.activeElement]);
  }
  const atEnd = stream.scrollHeight - stream.scrollTop - stream.clientHeight < 80;
  stream.innerHTML = html;
  for (const input of stream.querySelectorAll("input")) {
    const [value, focused] = typed.get(fieldKey(input)) ?? ["", false];
    input.value = value;
    if (focused) input.focus();
  }
  localDates(stream);
  if (atEnd) stream.scrollTop = stream.scrollHeight;
}

async function reload() {
  if (!new URLSearchParams(location.search).get("channel") && !document.querySelector("nav a")) {
    // The first channel has just come into being: the page around the stream changes too.
    const page = await (await fetch("/" + location.search)).text();
    if (new DOMParser().parseFromString(page, "text/html").querySelector("nav a")) location.reload();
    return;
  }
  const answer = await fetch("/stream" + location.search);
  if (answer.ok) replaceStream(await answer.text());
}

function confirmed(text) {
  if (!text) return Promise.resolve(true);
  const ask = JSON.parse(text);
  const [deny, confirm] = dialog.querySelectorAll("button");
  dialog.querySelector("h3").textContent = ask.title;
  dialog.querySelector("p").textContent = ask.text;
  deny.textContent = ask.deny;
  confirm.textContent = ask.confirm;
  confirm.className = ask.style || "primary";
  dialog.returnValue = "deny";
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue === "confirm"), { once: true }));
}

let toastTimer;
function say(text) {
  toast.textContent = "⚠ " + text;
  toast.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { toast.hidden = true; }, 6000);
}

stream.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-action]");
  if (!button) return;
  const message = button.closest(".message");
  const inputs = {};
  for (const input of message.querySelectorAll("input[data-input]")) inputs[input.dataset.input] = input.value;
  if (!await confirmed(button.dataset.confirm)) return;
  button.disabled = true;
  try {
    const answer = await fetch("/press", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ts: message.dataset.ts, action: button.dataset.action, user: me, inputs }),
    });
    if (!answer.ok) say((await answer.text()).trim());
  } catch (err) {
    say(err.message);
  } finally {
    button.disabled = false;
  }
});

localDates(document);
stream.scrollTop = stream.scrollHeight;
new EventSource("/events").onmessage = reload;
