"use strict";
// A cursor on each plot, by mouse, finger or arrow keys; without it the page says the same.
const series = JSON.parse(document.getElementById("series").textContent);
const count = series.steps.length;
for (const plot of document.querySelectorAll(".plot")) {
  const cursor = plot.querySelector(".cursor");
  const reading = document.getElementById(plot.dataset.reading);
  const names = plot.dataset.series.split(" ");
  let place = count - 1;
  const show = (next) => {
    place = Math.max(0, Math.min(count - 1, next));
    const x = count > 1 ? (place / (count - 1)) * 1000 : 0;
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.style.visibility = "visible";
    const parts = names.map((name) => {
      const value = series.values[name][place];
      return series.labels[name] + " " + (value === null ? "unknown" : value + " " + series.units[name]);
    });
    reading.textContent = "step " + series.steps[place] + ": " + parts.join(", ");
  };
  plot.addEventListener("keydown", (event) => {
    const far = Math.max(1, Math.round(count / 20));
    const moves = { ArrowLeft: -1, ArrowRight: 1, PageDown: -far, PageUp: far, Home: -count, End: count };
    if (event.key in moves) {
      event.preventDefault();
      show(place + moves[event.key]);
    }
  });
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    show(Math.round(((event.clientX - box.left) / box.width) * (count - 1)));
  });
}
