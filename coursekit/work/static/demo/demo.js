// One screen for each piece: fitted to the window, and steps with the keys of a presenter.
const pieces = [...document.querySelectorAll(".piece")];
const steps = document.querySelector(".steps"), place = document.getElementById("place");
const back = document.getElementById("back"), on = document.getElementById("on");
const LARGEST = 3, READABLE = 1.4;
let now = 0;

const fit = piece => {
  const stage = piece.querySelector(".stage"), inside = piece.querySelector(".fitted");
  const width = inside.offsetWidth, height = inside.offsetHeight;
  if (!width || !height) return;
  const across = stage.clientWidth / width, down = (stage.clientHeight - 60) / height;
  // What is too long for the window is scrolled: type that nobody can read from the last row is no use.
  const scale = Math.min(across, LARGEST, down < 0.9 ? READABLE : down);
  inside.style.transform = `scale(${scale})`;
  inside.style.marginLeft = `${Math.max(0, (stage.clientWidth - width * scale) / 2)}px`;
  inside.style.marginBottom = `${height * (scale - 1)}px`;
};

const show = number => {
  now = Math.min(Math.max(number, 0), pieces.length - 1);
  pieces.forEach((piece, index) => piece.classList.toggle("now", index === now));
  place.textContent = `${now + 1} of ${pieces.length}`;
  back.disabled = now === 0;
  on.disabled = now === pieces.length - 1;
  history.replaceState(null, "", `#${now + 1}`);
  fit(pieces[now]);
  // Figures that were drawn out of sight have measured nothing.
  dispatchEvent(new Event("resize"));
};

const typing = element => element.closest("input, textarea, select, [role=slider], [contenteditable]");
const key = event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const free = !typing(event.target);
  const step = { PageDown: 1, PageUp: -1 }[event.key] ?? (free ? { ArrowRight: 1, ArrowLeft: -1 }[event.key] : undefined);
  if (step !== undefined) show(now + step);
  else if (free && /^[1-9]$/.test(event.key)) show(Number(event.key) - 1);
  else if (free && event.key.toLowerCase() === "f") fill();
  else return;
  event.preventDefault();
  event.stopPropagation();
};
const fill = () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen());
addEventListener("keydown", key, true);
back.addEventListener("click", () => show(now - 1));
on.addEventListener("click", () => show(now + 1));
document.getElementById("full").addEventListener("click", fill);

const resized = new ResizeObserver(() => fit(pieces[now]));
for (const piece of pieces) {
  resized.observe(piece.querySelector(".stage"));
  resized.observe(piece.querySelector(".fitted"));
}
// Keys that are pressed inside a frame stay there, so a frame is told to pass them on.
new MutationObserver(() => {
  for (const frame of document.querySelectorAll("iframe:not([data-heard])")) {
    frame.dataset.heard = "";
    const listen = () => frame.contentWindow.addEventListener("keydown", key, true);
    frame.addEventListener("load", listen);
    listen();
  }
}).observe(document.body, { childList: true, subtree: true });
// Plotly's renderer wants to keep a picture of a figure in the notebook, which is none here. The figure is drawn by then.
addEventListener("unhandledrejection", event => {
  if (String(event.reason).includes("setData is not a function")) event.preventDefault();
});
steps.classList.add("ready");
show((Number(location.hash.slice(1)) || 1) - 1);
