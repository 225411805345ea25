// Formulas as Jupyter writes them; no menu, because the menu would load further files.
"use strict";

// Widgets ask for their labels' formulas in the way of MathJax 2.
const hub = {
  Queue([, , element]) {
    window.MathJax.typesetPromise?.([element]);
  },
};

window.MathJax = {
  tex: {
    inlineMath: [["$", "$"], ["\\(", "\\)"]],
    displayMath: [["$$", "$$"], ["\\[", "\\]"]],
    processEscapes: true,
    processEnvironments: true,
    tags: "ams",
  },
  options: { enableMenu: false },
  startup: {
    ready() {
      window.MathJax.Hub = hub;
      window.MathJax.startup.defaultReady();
    },
  },
  Hub: hub,
};
