"use strict";
// Filter, deep links, copying and trying. The page is complete without any of it.
(() => {
  const $ = (selector, from = document) => from.querySelector(selector);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const box = $("#filter");
  const ops = all(".op");
  const count = $(".count");

  const filter = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const op of ops) {
      const hit = words.every((word) => op.dataset.text.includes(word));
      op.hidden = !hit;
      $(`nav a[href="#${op.id}"]`).parentElement.hidden = !hit;
      shown += hit;
    }
    for (const group of all("main section, nav .tag")) {
      group.hidden = !all(".op, li", group).some((one) => !one.hidden);
    }
    $(".none").hidden = shown > 0;
    count.textContent = words.length ? `${shown} of ${ops.length} operations` : "";
  };
  box.addEventListener("input", filter);
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !typing) { event.preventDefault(); box.focus(); }
    if (event.key === "Escape" && document.activeElement === box) { box.value = ""; filter(); }
  });

  const follow = () => {
    const op = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!op || !op.matches(".op")) return;
    if (op.hidden) { box.value = ""; filter(); }
    op.open = true;
    op.scrollIntoView();
  };
  addEventListener("hashchange", follow);
  for (const op of ops) {
    op.addEventListener("toggle", () => {
      if (op.open && location.hash !== `#${op.id}`) history.replaceState(null, "", `#${op.id}`);
    });
  }

  const request = (form) => {
    const { method, path } = form.dataset;
    const query = new URLSearchParams();
    let url = path;
    for (const field of all("input[name]", form)) {
      if (field.dataset.in === "path") url = url.replace(`{${field.name}}`, encodeURIComponent(field.value));
      else if (field.value !== "") query.append(field.name, field.value);
    }
    const text = String(query);
    const body = $("textarea", form);
    return { method, url: text ? `${url}?${text}` : url, body: body ? body.value : undefined };
  };

  const show = (form, text) => {
    const out = $("output", form.parentElement);
    out.hidden = false;
    out.firstElementChild.textContent = text;
  };

  const send = async (event) => {
    event.preventDefault();
    const form = event.target;
    const { method, url, body } = request(form);
    const key = $("#key").value.trim();
    const headers = key ? { Authorization: `Bearer ${key}` } : {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), 60000);
    show(form, "…");
    try {
      const begun = performance.now();
      const answer = await fetch(url, { method, headers, body, signal: stop.signal, credentials: "omit" });
      const head = `${answer.status} ${answer.statusText}   ${Math.round(performance.now() - begun)} ms`;
      const type = answer.headers.get("Content-Type") || "";
      if (type.startsWith("text/event-stream")) { await stream(form, head, answer); return; }
      const text = await answer.text();
      show(form, `${head}\n\n${type.startsWith("application/json") ? JSON.stringify(JSON.parse(text), null, 2) : text}`);
    } catch (error) {
      show(form, error.name === "AbortError" ? "Stopped after a minute." : `No answer: ${error.message}`);
    } finally {
      clearTimeout(timer);
    }
  };

  const stream = async (form, head, answer) => {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = `${head}\n\n`;
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text = (text + value).slice(-65536);
      show(form, text);
    }
  };

  for (const form of all(".try form")) form.addEventListener("submit", send);
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const text = $("pre", button.parentElement).textContent;
    try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; }
    catch { getSelection().selectAllChildren($("pre", button.parentElement)); button.textContent = "Selected"; }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  for (const one of all("[data-js]")) one.hidden = false;
  if (box.value) filter();  // a browser restores what was typed before a reload
  follow();
})();
