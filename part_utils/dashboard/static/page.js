"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const main = byId("main"), list = byId("list"), search = byId("search"), sort = byId("sort");
  const tip = byId("tip"), live = byId("live"), found = byId("found");
  const items = [...list.children].map((element) => {
    const link = element.firstElementChild;
    return {
      element, link, latent: Number(link.dataset.latent), rate: Number(link.dataset.rate),
      concentration: Number(link.dataset.concentration), text: null,
    };
  });
  let shown = items, current = null;

  // Not scrollIntoView: it would also scroll the notebook around the page, to wherever this frame is.
  function bringIntoList(link) {
    const nav = list.parentElement, box = link.getBoundingClientRect(), edges = nav.getBoundingClientRect();
    if (box.top < edges.top) nav.scrollTop -= edges.top - box.top;
    else if (box.bottom > edges.bottom) nav.scrollTop += box.bottom - edges.bottom;
  }

  // The latents: search, sort, show.
  function textOf(item) {
    if (item.text === null) {
      const panels = byId("latent-" + item.latent).content;
      const parts = panels.querySelectorAll("h2, .text, .label, .tok, th[scope=row]");
      item.text = [...parts].map((part) => part.textContent).join("\n").toLowerCase();
    }
    return item.text;
  }

  function update() {
    const query = search.value.replace(/^#/, "").toLowerCase();
    const key = sort.value;
    const matches = query.trim() === "" ? items : items.filter((item) =>
      String(item.latent) === query.trim() || textOf(item).includes(query) ||
      textOf(item).includes(query.trim()));
    const exact = (item) => (String(item.latent) === query.trim() ? 1 : 0);
    shown = [...matches].sort((a, b) => exact(b) - exact(a) ||
      (key === "latent" ? a.latent - b.latent : b[key] - a[key] || a.latent - b.latent));
    list.replaceChildren(...shown.map((item) => item.element));
    found.textContent = query.trim() === "" ? "" : shown.length + (shown.length === 1 ? " latent" : " latents");
    if (shown.length && !shown.includes(current)) show(shown[0]);
    else if (current) bringIntoList(current.link);
  }

  function show(item) {
    if (!item) return;
    hideTip();
    if (current) current.link.removeAttribute("aria-current");
    current = item;
    item.link.setAttribute("aria-current", "true");
    bringIntoList(item.link);
    main.replaceChildren(byId("latent-" + item.latent).content.cloneNode(true));
    // A page inside a notebook has no address of its own.
    if (location.protocol !== "about:") history.replaceState(null, "", "#latent-" + item.latent);
  }

  function step(by) {
    const index = shown.indexOf(current);
    const item = shown[Math.min(Math.max(index + by, 0), shown.length - 1)];
    if (!item || item === current) return;
    show(item);
    live.textContent = main.querySelector("h2").textContent;
    window.scrollTo(0, Math.min(window.scrollY, main.offsetTop));
  }

  const itemOf = (latent) => items.find((item) => item.latent === latent);

  // Tokens: what the pointer or the keyboard is on.
  function describe(token) {
    const act = token.dataset.a, loss = token.dataset.l;
    if (act === undefined) return "does not fire here";
    const line = "activation " + Number(act).toFixed(2);
    if (loss === undefined) return line + "\nthe text ends here";
    const change = Math.abs(Number(loss)).toFixed(3);
    return line + "\nwithout it, the loss on the next token " +
      (Number(change) === 0 ? "stays the same" : (Number(loss) > 0 ? "rises" : "falls") + " by " + change + " nats");
  }

  function showTip(token) {
    tip.textContent = describe(token);
    tip.hidden = false;
    const box = token.getClientRects()[0] || token.getBoundingClientRect(), size = tip.getBoundingClientRect();
    const left = Math.min(Math.max(box.left, 6), document.documentElement.clientWidth - size.width - 6);
    const above = box.top - size.height - 6;
    tip.style.left = Math.max(left, 6) + "px";
    tip.style.top = (above > 4 ? above : box.bottom + 6) + "px";
  }

  function hideTip() {
    tip.hidden = true;
    for (const token of main.querySelectorAll(".cursor")) token.classList.remove("cursor");
  }

  const tokensOf = (context) => [...context.querySelectorAll(".text i, .text b")];

  function moveTo(context, token) {
    hideTip();
    token.classList.add("cursor");
    const outer = token.parentElement.closest(".l, .r");
    if (outer && !context.classList.contains("open")) {
      const box = token.getBoundingClientRect(), frame = outer.getBoundingClientRect();
      if (box.left < frame.left || box.right > frame.right) context.classList.add("open");
    }
    showTip(token);
    live.textContent = token.textContent + ": " + tip.textContent;
  }

  function keyInContext(event, context) {
    const tokens = tokensOf(context);
    const now = Math.max(tokens.findIndex((token) => token.classList.contains("cursor")), 0);
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const next = now + (event.key === "ArrowLeft" ? -1 : 1);
      moveTo(context, tokens[Math.min(Math.max(next, 0), tokens.length - 1)]);
    } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      const contexts = [...main.querySelectorAll(".ctx")];
      const next = contexts[contexts.indexOf(context) + (event.key === "ArrowUp" ? -1 : 1)];
      if (next) next.focus();
    } else if (event.key === "Enter" || event.key === " ") {
      context.classList.toggle("open");
      moveTo(context, tokens[now]);
    } else return false;
    return true;
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    if (event.key === "Escape") {
      hideTip();
      if (target === search && search.value) {
        search.value = "";
        update();
      } else main.focus({ preventScroll: true });
      event.preventDefault();
      return;
    }
    if (target === search) {
      if (event.key === "Enter" && shown.length) {
        show(shown[0]);
        main.focus({ preventScroll: true });
        event.preventDefault();
      } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        step(event.key === "ArrowDown" ? 1 : -1);
        event.preventDefault();
      }
      return;
    }
    if (target === sort) return;
    const context = target.closest(".ctx");
    let handled = true;
    if (context && keyInContext(event, context)) handled = true;
    else if (event.key === "/") {
      search.focus();
      search.select();
    } else if (event.key === "j" || event.key === "ArrowRight" || (event.key === "ArrowDown" && list.contains(target))) step(1);
    else if (event.key === "k" || event.key === "ArrowLeft" || (event.key === "ArrowUp" && list.contains(target))) step(-1);
    else handled = false;
    if (handled) event.preventDefault();
    if (handled && list.contains(target) && current) current.link.focus({ preventScroll: true });
  });

  main.addEventListener("focusin", (event) => {
    const context = event.target.closest(".ctx");
    if (context && context.matches(":focus-visible")) moveTo(context, context.querySelector(".text b"));
  });
  main.addEventListener("focusout", hideTip);
  main.addEventListener("mouseover", (event) => {
    const token = event.target.closest(".text i, .text b");
    if (token) showTip(token);
    else tip.hidden = true;
  });
  main.addEventListener("mouseleave", hideTip);
  window.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#latent-']");
    if (link) {
      event.preventDefault();
      const item = itemOf(Number(link.getAttribute("href").slice(8)));
      const inside = main.contains(link);
      show(item);
      if (inside) window.scrollTo(0, Math.min(window.scrollY, main.offsetTop));
      return;
    }
    const context = event.target.closest(".ctx");
    if (context && String(getSelection()) === "") context.classList.toggle("open");
  });
  search.addEventListener("input", update);
  sort.addEventListener("change", update);
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  window.addEventListener("hashchange", () => show(itemOf(Number(location.hash.slice(8)))));

  document.body.classList.add("scripted");
  show(itemOf(Number(location.hash.slice(8))) || items[0]);
  update();
})();
