// One slide at a time, by keys, buttons or swipes. A figure is drawn when its slide is first seen, as large as fits.
const slides = [...document.querySelectorAll(".slide")];
let now = 0;

function fit(slide) {
  for (const figure of slide.querySelectorAll("figure.plotly")) {
    const box = figure.parentElement;
    const { width = 700, height = 450 } = figure.size ?? {};
    const times = Math.min(box.clientWidth / width, box.clientHeight / height, 3);
    figure.style.transform = `scale(${times})`;
  }
}

async function draw(slide) {
  for (const figure of slide.querySelectorAll("figure.plotly:not([data-drawn])")) {
    figure.dataset.drawn = "true";
    const { data, layout = {}, frames, config } = JSON.parse(figure.querySelector("script").textContent);
    figure.size = { width: layout.width, height: layout.height };
    figure.style.width = `${layout.width ?? 700}px`;
    try {
      await Plotly.newPlot(figure, { data, layout, frames: frames || [], config: { ...config, displayModeBar: false } });
    } catch { figure.textContent = figure.getAttribute("aria-label"); }
  }
  fit(slide);
}

function show(number) {
  slides[now].classList.remove("now");
  now = Math.max(0, Math.min(slides.length - 1, number));
  slides[now].classList.add("now");
  document.getElementById("place").textContent = `${now + 1} / ${slides.length}`;
  history.replaceState(null, "", `#${now + 1}`);
  draw(slides[now]);
}

const keys = {
  ArrowRight: () => show(now + 1), ArrowDown: () => show(now + 1), PageDown: () => show(now + 1), " ": () => show(now + 1),
  ArrowLeft: () => show(now - 1), ArrowUp: () => show(now - 1), PageUp: () => show(now - 1),
  Home: () => show(0), End: () => show(slides.length - 1),
  n: () => { document.body.classList.toggle("with-notes"); fit(slides[now]); },
  f: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()),
};
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("button")) return;
  const act = keys[event.key] ?? keys[event.key.toLowerCase()];
  if (act) { event.preventDefault(); act(); }
});
document.getElementById("on").addEventListener("click", () => show(now + 1));
document.getElementById("back").addEventListener("click", () => show(now - 1));
let start = null;
addEventListener("touchstart", (event) => { start = event.touches[0].clientX; }, { passive: true });
addEventListener("touchend", (event) => {
  const moved = event.changedTouches[0].clientX - start;
  if (Math.abs(moved) > 60 && !event.target.closest("figure")) show(now + (moved < 0 ? 1 : -1));
});
addEventListener("resize", () => fit(slides[now]));
show((Number.parseInt(location.hash.slice(1)) || 1) - 1);
