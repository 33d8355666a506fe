// Draws figures when they come into sight, with plotly.js loaded once, and shows solutions to those who want them.
const here = document.currentScript.src;

// Opened as a file, a page may not read other pages: the search then shows titles only.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined")
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

let loading;
function plotly() {
  return (loading ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    Object.assign(script, { src: new URL("plotly.min.js", here), onload: done, onerror: failed });
    document.head.append(script);
  }));
}

// A figure gets narrower with the page, but not so narrow that its labels collide; then it can be moved sideways.
const NARROWEST = 560;
const widthIn = (place) => {
  const wanted = Number(place.dataset.width);
  return Math.max(Math.min(wanted, place.clientWidth), Math.min(wanted, NARROWEST));
};

async function draw(place) {
  const { data, layout, frames } = JSON.parse(place.querySelector("script").textContent);
  const picture = place.querySelector("img");
  const drawn = document.createElement("div");
  try {
    await plotly();
    place.append(drawn);
    const size = { width: widthIn(place) };
    await Plotly.newPlot(drawn, { data, layout: { ...layout, ...size }, frames: frames || [],
      config: { displaylogo: false, displayModeBar: false } });
  } catch {
    drawn.remove(); // the picture stays
    return;
  }
  picture.classList.add("drawn");
  place.dataset.drawn = "true";
  new ResizeObserver(() => Plotly.relayout(drawn, { width: widthIn(place) })).observe(place);
}

const figures = document.querySelectorAll("figure.plotly");
const inSight = new IntersectionObserver((seen) => {
  for (const { isIntersecting, target } of seen)
    if (isIntersecting) { inSight.unobserve(target); draw(target); }
}, { rootMargin: "600px" });
figures.forEach((figure) => inSight.observe(figure));

// What is wider than the page moves by itself, also with the arrow keys.
for (const box of document.querySelectorAll("pre, figure.plotly, .cell_output > .output, .table-wrapper, .math"))
  if (box.scrollWidth > box.clientWidth) { box.tabIndex = 0; box.setAttribute("role", "group"); box.setAttribute("aria-label", "Can be moved sideways"); }

const solutions = document.getElementById("show-solutions");
if (solutions) {
  const show = (shown) => {
    document.body.classList.toggle("with-solutions", shown);
    document.querySelectorAll("details.solution").forEach((solution) => { solution.open = shown; });
  };
  solutions.closest("p").hidden = false;
  try { solutions.checked = localStorage.getItem("show-solutions") === "yes"; } catch { /* no memory in this browser */ }
  show(solutions.checked);
  solutions.addEventListener("change", () => {
    try { localStorage.setItem("show-solutions", solutions.checked ? "yes" : "no"); } catch { /* none */ }
    show(solutions.checked);
  });
}
