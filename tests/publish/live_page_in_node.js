// Runs the live page's scripts without a browser: reads {folder, about, film, times, duration} from the
// standard input, shows the page a frame at each time, and writes which frames each of its clips had.
"use strict";

const fs = require("node:fs");
const vm = require("node:vm");

const given = JSON.parse(fs.readFileSync(0, "utf8"));
// Whatever the page asks of its document: it can be called, read and written without end.
const anything = new Proxy(function () {}, {
  get: (_, name) => (name === Symbol.toPrimitive ? () => "" : anything),
  apply: () => anything,
});
const texts = {};
const video = { requestVideoFrameCallback() {}, duration: given.duration };
if (given.film) video.src = "film";
else video.srcObject = anything;
const document = {
  createElement: () => anything,
  getElementById(id) {
    if (id === "video") return video;
    return id === "seen" ? anything : (texts[id] ??= { style: {}, append() {}, textContent: "" });
  },
};
const page = vm.createContext({ document, performance, window: { r21dAbout: given.about } });
for (const file of ["clips.js", "live_page.js"]) {
  vm.runInContext(fs.readFileSync(`${given.folder}/${file}`, "utf8"), page, { filename: file });
}
const asked = [];
let shown = null;
page.readFrame = () => shown;
page.showClip = () => {};
page.score = ({ id, frames }) => {
  asked.push([shown, frames]);
  page.answer(id);
};
vm.runInContext(
  `worker = { postMessage: score };
  answer = (id) => waiting.get(id).resolve({ probabilities: about.classes.map(() => 0) });`,
  page,
);

async function main() {
  for (const [number, seconds] of given.times.entries()) {
    shown = number;
    page.onFrame(1000 * seconds, { mediaTime: seconds, presentedFrames: number + 1 });
    await new Promise(setImmediate); // until the answer has come
  }
  const told = { asked, text: texts["seen-text"].textContent, dropped: texts.dropped?.textContent };
  process.stdout.write(JSON.stringify(told));
}
main();
