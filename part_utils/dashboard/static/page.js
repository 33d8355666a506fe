"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const main = byId("main"), list = byId("list"), search = byId("search"), sort = byId("sort"), copies = byId("copies");
  const tip = byId("tip"), live = byId("live"), found = byId("found");
  const items = [...list.children].map((element) => {
    const link = element.firstElementChild;
    return {
      element, link, latent: Number(link.dataset.latent), rate: Number(link.dataset.rate),
      concentration: Number(link.dataset.concentration), favored: Number(link.dataset.favored),
      copy: "copy" in link.dataset, words: Object.entries(JSON.parse(link.dataset.words)), text: null,
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

  // How strongly a latent fires on a word: the largest over the tokens that are the word (a space at the start counts),
  // and half of it for tokens that only contain it. 0 if it is just somewhere in the texts, -1 if it is nowhere.
  function score(item, query, words) {
    if (String(item.latent) === query.trim()) return Infinity;
    let strength = 0;
    for (const [word, share] of item.words) {
      if (word === words) strength = Math.max(strength, share);
      else if (word.toLowerCase() === query) strength = Math.max(strength, 0.9 * share);
      else if (word.toLowerCase().includes(query)) strength = Math.max(strength, 0.5 * share);
    }
    if (strength > 0) return strength;
    return textOf(item).includes(query) || textOf(item).includes(query.trim()) ? 0 : -1;
  }

  function update() {
    const words = search.value.replace(/^#/, ""), query = words.toLowerCase();
    const key = sort.value, searching = query.trim() !== "";
    const scores = new Map(items.map((item) => [item, searching ? score(item, query, words) : 0]));
    shown = items.filter((item) => scores.get(item) >= 0 && !(copies.checked && item.copy && scores.get(item) < Infinity));
    // Equal scores give the order that was chosen. Infinity - Infinity is no number, so nothing is subtracted here.
    const compare = (a, b) => (a === b ? 0 : a < b ? 1 : -1);
    shown.sort((a, b) => compare(scores.get(a), scores.get(b)) ||
      (key === "latent" ? 0 : b[key] - a[key]) || a.latent - b.latent);
    list.replaceChildren(...shown.map((item) => item.element));
    const firing = shown.filter((item) => scores.get(item) > 0).length;
    found.textContent = !searching && !copies.checked ? "" :
      shown.length + (shown.length === 1 ? " latent" : " latents") +
      (searching && firing > 0 && firing < shown.length ? ", " + firing + " of them fire on it" : "");
    if (shown.length && !shown.includes(current)) show(shown[0]);
    else if (current) bringIntoList(current.link);
  }

  function show(item) {
    if (!item) return;
    hideTip();
    // The list is one stop of the Tab key, and so are the contexts; arrows move inside.
    if (current) {
      current.link.removeAttribute("aria-current");
      current.link.tabIndex = -1;
    }
    current = item;
    item.link.setAttribute("aria-current", "true");
    item.link.tabIndex = 0;
    bringIntoList(item.link);
    main.replaceChildren(byId("latent-" + item.latent).content.cloneNode(true));
    [...main.querySelectorAll(".ctx")].forEach((context, index) => { context.tabIndex = index ? -1 : 0; });
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
    const line = "activation " + Number(act).toFixed(2) + ", " +
      Math.round(100 * Number(token.style.getPropertyValue("--a"))) + " % of its largest";
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
      if (next) {
        context.tabIndex = -1;
        next.tabIndex = 0;
        next.focus();
      }
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
    if (target === sort || target === copies) return;
    const context = target.closest(".ctx");
    let handled = true;
    if (context && keyInContext(event, context)) handled = true;
    else if (event.key === "/") {
      search.focus();
      search.select();
    } else if (event.key === "j" || event.key === "ArrowRight" || (event.key === "ArrowDown" && list.contains(target))) step(1);
    else if (event.key === "k" || event.key === "ArrowLeft" || (event.key === "ArrowUp" && list.contains(target))) step(-1);
    else if (event.key === "Home" && list.contains(target)) show(shown[0]);
    else if (event.key === "End" && list.contains(target)) show(shown[shown.length - 1]);
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
  copies.addEventListener("change", update);
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  window.addEventListener("hashchange", () => show(itemOf(Number(location.hash.slice(8)))));

  document.body.classList.add("scripted");
  show(itemOf(Number(location.hash.slice(8))) || items[0]);
  update();
})();
