// The live page: takes frames from a camera or a file, resizes them as the training did, asks the worker
// for the newest clip, and shows the mean of the last answers.
"use strict";

const about = window.r21dAbout;
const { clip_len: clipLen, stride, resize: size, crop } = about.clips;
const FPS = about.clips.fps ?? 30; // that the stride counts in
const STEP = stride / FPS; // seconds from one frame of a clip to the next
const CLIP = clipLen * STEP; // seconds that a clip lasts
const ANSWERS_IN_MEAN = 5;
const BARS = 5;
const byId = (id) => document.getElementById(id);
const video = byId("video");

// Files ----------------------------------------------------------------------------------------------

async function unpack(name) {
  const bytes = Uint8Array.from(atob(window.r21dFiles[name]), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

// The network ----------------------------------------------------------------------------------------

const waiting = new Map(); // a request's number to what its answer resolves
let worker = null;
let requests = 0;

function ask(message) {
  return new Promise((resolve, reject) => {
    const id = ++requests;
    waiting.set(id, { resolve, reject });
    worker.postMessage({ ...message, id });
  });
}

async function startNetwork() {
  const [runtime, code, glue, wasm, network] = await Promise.all(
    [
      "ort.wasm.min.js",
      "live_worker.js",
      "ort-wasm-simd-threaded.mjs",
      "ort-wasm-simd-threaded.wasm",
      "network.onnx",
    ].map(unpack),
  );
  const script = new Blob([runtime, "\n", code], { type: "text/javascript" });
  worker = new Worker(URL.createObjectURL(script));
  worker.onmessage = ({ data }) => {
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.error) reject(new Error(data.error));
    else resolve(data);
  };
  worker.onerror = (event) => fail(`The network could not be started (${event.message}).`);
  await ask({ glue, wasm, network, clips: about.clips });
}

// Frames become clips --------------------------------------------------------------------------------

const resizeFrame = (...frame) => resizeTo(size, ...frame);
const reader = document.createElement("canvas");
const readerContext = reader.getContext("2d", { willReadFrequently: true });
const rolling = new RollingClip(clipLen, stride, FPS);
let due = null; // when the next clip may end [s]
let newest = null; // when the last frame was [s]
let before = 0; // what the earlier rounds of a looped short file took [s]
let presented = null; // frames that the browser showed of this source
let dropped = 0; // frames that never came, or that no clip ended with
let busy = false;
let answers = []; // the last ones, newest last
let answered = []; // when they came [ms]
let source = 0; // counts up, so that an answer about an earlier source is thrown away

function restart() {
  source++;
  rolling.clear();
  due = null;
  newest = null;
  before = 0;
  presented = null;
  dropped = 0;
  answers = [];
  answered = [];
}

function readFrame() {
  const { videoWidth: width, videoHeight: height } = video;
  if (reader.width !== width || reader.height !== height) {
    reader.width = width;
    reader.height = height;
  }
  readerContext.drawImage(video, 0, 0);
  return resizeFrame(readerContext.getImageData(0, 0, width, height).data, height, width, 4);
}

// Called for every frame that the browser shows, with its time; a clip ends each `STEP` seconds at most.
function onFrame(now, metadata) {
  if (!video.srcObject && !video.src) return;
  video.requestVideoFrameCallback(onFrame);
  if (presented !== null) dropped += Math.max(0, metadata.presentedFrames - presented - 1);
  presented = metadata.presentedFrames;
  const own = video.srcObject ? now / 1000 : metadata.mediaTime;
  if (newest !== null && before + own < newest) {
    // The file began anew. A clip across the seam would show what never happened, unless the file is
    // shorter than a clip: such a one is looped in training, too.
    if (video.duration >= CLIP) rolling.clear();
    else before = Math.max(before + video.duration, newest + 1 / FPS - own);
    due = null;
  } else if (newest !== null && before + own - newest >= Math.max(CLIP, 1)) {
    rolling.clear(); // nobody saw what was between
  }
  const time = before + own;
  newest = time;
  if (!rolling.wants(time)) return;
  rolling.push(time, readFrame());
  if (!rolling.ready || (due !== null && time < due)) return;
  due = time + STEP - 0.5 / FPS;
  if (busy) dropped++;
  else answerNewest(performance.now());
}

async function answerNewest(taken) {
  busy = true;
  const asked = source;
  try {
    const frames = rolling.clip();
    showClip(frames);
    const { probabilities } = await ask({ frames });
    if (asked === source) {
      answers = [...answers, probabilities].slice(-ANSWERS_IN_MEAN);
      answered = [...answered, performance.now()].slice(-20);
      showAnswer(performance.now() - taken);
    }
  } catch (error) {
    fail(`The network failed (${error.message}).`);
  }
  busy = false;
}

// What is shown --------------------------------------------------------------------------------------

const seen = byId("seen");
const GAP = 2; // pixels between two frames
seen.width = clipLen * (crop + GAP) - GAP;
seen.height = crop;
const seenContext = seen.getContext("2d");

function showClip(frames) {
  const [height, width] = size;
  const top = Math.floor((height - crop) / 2);
  const left = Math.floor((width - crop) / 2);
  const picture = seenContext.createImageData(width, height);
  frames.forEach((frame, t) => {
    for (let i = 0; i < height * width; i++) {
      picture.data.set([frame[3 * i], frame[3 * i + 1], frame[3 * i + 2], 255], 4 * i);
    }
    seenContext.putImageData(picture, t * (crop + GAP) - left, -top, left, top, crop, crop);
  });
}

const readable = (name) => name.replaceAll("_", " ");
const bars = Array.from({ length: Math.min(BARS, about.classes.length) }, () => {
  const item = document.createElement("li");
  const [name, bar, percent] = ["span", "div", "span"].map((tag) => document.createElement(tag));
  const fill = document.createElement("div");
  name.className = "name";
  bar.className = "bar";
  fill.className = "fill";
  percent.className = "percent";
  bar.append(fill);
  item.append(name, bar, percent);
  byId("bars").append(item);
  return { name, fill, percent };
});

function mean() {
  return about.classes.map((_, label) => answers.reduce((sum, a) => sum + a[label], 0) / answers.length);
}

function showAnswer(latency) {
  const scores = mean();
  const order = scores.map((_, label) => label).sort((a, b) => scores[b] - scores[a]);
  bars.forEach(({ name, fill, percent }, place) => {
    const label = order[place];
    name.textContent = name.title = readable(about.classes[label]);
    fill.style.width = `${100 * scores[label]}%`;
    percent.textContent = `${Math.round(100 * scores[label])} %`;
  });
  const best = readable(about.classes[order[0]]);
  if (byId("answer").textContent !== best) byId("answer").textContent = best;
  byId("latency").textContent = `${Math.round(latency)} ms`;
  const span = answered.at(-1) - answered[0];
  byId("rate").textContent = span > 0 ? ((1000 * (answered.length - 1)) / span).toFixed(1) : "–";
  byId("dropped").textContent = String(dropped);
}

// Nothing of an earlier source stays, whether it ended or could not be played.
function forget() {
  byId("answer").textContent = "";
  for (const { name, fill, percent } of bars) {
    name.textContent = name.title = percent.textContent = "";
    fill.style.width = "0";
  }
  for (const id of ["latency", "rate", "dropped"]) byId(id).textContent = "–";
  seenContext.clearRect(0, 0, seen.width, seen.height);
}

function tell(text) {
  byId("status").textContent = text;
}

function fail(text) {
  byId("error").textContent = text;
}

// Sources --------------------------------------------------------------------------------------------

function stop() {
  restart();
  fail("");
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  if (video.src) URL.revokeObjectURL(video.src);
  video.srcObject = null;
  video.removeAttribute("src");
  video.load();
  byId("stage").classList.remove("playing");
  byId("stop").disabled = true;
  forget();
  tell("Ready.");
}

async function play(text) {
  byId("stage").classList.add("playing");
  byId("stop").disabled = false;
  tell(text);
  video.requestVideoFrameCallback(onFrame);
  await video.play();
}

async function useCamera() {
  stop();
  byId("example").value = "";
  if (!navigator.mediaDevices) {
    fail("Browsers give the camera to pages from https:// or localhost only: open a video file instead.");
    return;
  }
  const asked = source;
  try {
    const stream = await navigator.mediaDevices.getUserMedia({
      video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: FPS } },
    });
    if (asked !== source) {
      for (const track of stream.getTracks()) track.stop();
      return;
    }
    video.srcObject = stream;
    await play("Looking at the camera.");
  } catch (error) {
    if (asked !== source) return;
    stop();
    const reason = {
      NotAllowedError: "The camera was refused: allow it beside the page's address, or open a video file.",
      NotFoundError: "No camera was found: connect one, or open a video file.",
      NotReadableError: "The camera is in use by another program: close it, or open a video file.",
    };
    fail(reason[error.name] ?? `The camera did not start (${error.message}): open a video file.`);
  }
}

async function usePlayable(blob, name) {
  stop();
  const asked = source;
  video.loop = true;
  video.src = URL.createObjectURL(blob);
  try {
    await play(`Looking at ${name}.`);
    if (asked === source && !video.videoWidth) throw new Error("it has no picture");
  } catch {
    if (asked !== source) return;
    stop();
    fail(`${name} cannot be played by this browser: convert it by "r21d webm", or to .mp4 with H.264.`);
  }
}

function useFiles(files) {
  byId("example").value = "";
  if (files.length) usePlayable(files[0], files[0].name);
}

function connect() {
  byId("camera").addEventListener("click", useCamera);
  byId("stop").addEventListener("click", () => {
    stop();
    byId("example").value = "";
  });
  byId("file").addEventListener("change", (event) => {
    useFiles(event.target.files);
    event.target.value = ""; // so that the same file can be chosen again
  });
  const stage = byId("stage");
  for (const kind of ["dragover", "dragleave", "drop"]) {
    stage.addEventListener(kind, (event) => {
      event.preventDefault();
      stage.classList.toggle("over", kind === "dragover");
      if (kind === "drop") useFiles(event.dataTransfer.files);
    });
  }
  const example = byId("example");
  for (const name of about.examples) example.append(new Option(readable(name), name));
  byId("drawn").hidden = !about.examples.length;
  example.addEventListener("change", async () => {
    const name = example.value;
    if (!name) return;
    const data = await unpack(`${name}.webm`);
    usePlayable(new Blob([data], { type: "video/webm" }), "a drawn clip");
  });
}

async function start() {
  byId("seen-text").textContent =
    `What the network gets: ${clipLen} frames of ${crop} × ${crop} pixels, ` +
    `${Number(STEP.toPrecision(2))} s apart, or those of the source that are nearest in time.` +
    (about.clips.fps ? "" : " (r21d predict takes a file's frames one by one, whatever its rate.)");
  const lacking = ["WebAssembly", "DecompressionStream", "Worker"].filter((name) => !(name in window));
  if (!("requestVideoFrameCallback" in video)) lacking.push("requestVideoFrameCallback");
  if (lacking.length) {
    fail(`This browser is too old for this page (it lacks ${lacking.join(", ")}): update it.`);
    return;
  }
  try {
    await startNetwork();
  } catch (error) {
    fail(`The network could not be started (${error.message}).`);
    return;
  }
  connect();
  for (const id of ["camera", "example"]) byId(id).disabled = false;
  tell("Ready.");
}

// For tests, and for the browser's console: frames is a flat array of (clip_len, height, width, 3) uint8.
window.r21d = {
  ready: start(),
  resizeFrame,
  async scoreFrames(frames, height, width) {
    const bytes = 3 * height * width;
    const clip = Array.from({ length: clipLen }, (_, t) =>
      resizeFrame(frames.slice(t * bytes, (t + 1) * bytes), height, width, 3),
    );
    return ask({ frames: clip });
  },
};
