// Draws each figure from the numbers that stand in it.
for (const place of document.querySelectorAll("figure.plotly")) {
  const { data, layout, frames, config } = JSON.parse(place.querySelector("script").textContent);
  Plotly.newPlot(place, { data, layout: layout || {}, frames: frames || [], config: { ...config, responsive: true, displaylogo: false } })
    .catch(() => { place.textContent = place.getAttribute("aria-label"); });
}
