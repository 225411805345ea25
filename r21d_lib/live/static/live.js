// The browser's side of LiveRecognizer: it takes small frames, sends the newest, shows the answers.
//
// One batch of frames is under way at a time. While the kernel is at work, the frames that come wait
// here; those that no clip could use any more are dropped and counted. So neither side ever queues.

const SILENCE = 5000; // ms without an answer, after which the reader is told
const CHUNK = 1 << 20; // bytes of a file in one message
const ROWS = 5; // classes shown
const REMEMBERED = 15; // answers whose latency and rate are shown

const TROUBLE = {
  NotAllowedError: (what) => `The ${what} was refused: allow it beside the page's address, then press the button again.`,
  NotFoundError: (what) => `There is no ${what} here: connect one, or drop a video file.`,
  NotReadableError: (what) => `The ${what} is in use: close the other program that shows it.`,
};

function element(tag, name, parent, text = "") {
  const made = document.createElement(tag);
  made.className = `r21d-live-${name}`;
  made.textContent = text;
  parent.append(made);
  return made;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

/** Build the parts of the page and return them by name. */
function build(el) {
  const root = element("div", "root", el);
  const buttons = element("div", "buttons", root);
  const parts = { root };
  for (const name of ["Camera", "Screen", "File", "Stop"]) {
    parts[name] = element("button", "button", buttons, name);
    parts[name].type = "button";
  }
  parts.Stop.disabled = true;
  const body = element("div", "body", root);
  parts.stage = element("div", "stage", body);
  parts.hint = element("div", "hint", parts.stage, "Press Camera,\nor drop a video file here");
  parts.video = element("video", "video", parts.stage);
  Object.assign(parts.video, { muted: true, playsInline: true, loop: true, hidden: true });
  parts.poster = element("img", "video", parts.stage);
  Object.assign(parts.poster, { alt: "a frame of the file", hidden: true });
  const side = element("div", "side", body);
  parts.rows = Array.from({ length: ROWS }, () => {
    const row = element("div", "row", side);
    const label = element("span", "label", row);
    const bar = element("span", "fill", element("span", "bar", row));
    return { row, label, bar, value: element("span", "value", row) };
  });
  parts.numbers = element("div", "numbers", side);
  parts.message = element("div", "message", root);
  parts.message.setAttribute("role", "status");
  parts.picker = element("input", "picker", root);
  Object.assign(parts.picker, { type: "file", accept: "video/*,.avi,.mkv", hidden: true });
  return parts;
}

function render({ model, el }) {
  const parts = build(el);
  const { video, poster } = parts;
  element("div", "knows", parts.root, model.get("knows"));
  const [height, width] = model.get("frame_size");
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const pen = canvas.getContext("2d", { alpha: false });
  pen.imageSmoothingQuality = "high";
  const view = Math.random().toString(36).slice(2);

  // A number for each press of a button: what still comes for an earlier one is ignored.
  let turn = 0;
  let state = null; // of the running source

  const say = (text) => (parts.message.textContent = text);
  const source = () => `${view}:${turn}`;

  /** Show the video or the poster on the stage, or, for null, the hint. */
  function fill(shown) {
    video.hidden = shown !== video;
    poster.hidden = shown !== poster;
    parts.hint.hidden = shown !== null;
    parts.stage.classList.toggle("r21d-live-empty", shown === null);
  }

  function stop() {
    turn += 1;
    clearInterval(state?.watch);
    state = null;
    for (const track of video.srcObject?.getTracks() ?? []) track.stop();
    video.pause();
    video.srcObject = null;
    if (video.src) URL.revokeObjectURL(video.src);
    video.removeAttribute("src");
    if (poster.src) URL.revokeObjectURL(poster.src);
    poster.removeAttribute("src");
    fill(null);
    parts.Stop.disabled = true;
    say("");
    showAnswer([]);
    parts.numbers.textContent = "";
    return turn;
  }

  function showAnswer(top) {
    parts.rows.forEach(({ row, label, bar, value }, i) => {
      const [name, probability] = top[i] ?? ["", 0];
      row.hidden = !name;
      label.textContent = label.title = name;
      bar.style.width = `${100 * probability}%`;
      value.textContent = name && `${Math.round(100 * probability)}%`;
    });
    parts.root.dataset.best = top[0]?.[0] ?? "";
  }

  function showNumbers() {
    const { recent, sent, dropped, answers } = state;
    const lines = [`${sent.toLocaleString()} frames sent, ${dropped.toLocaleString()} dropped`];
    if (recent.length > 1) {
      const latency = Math.round(median(recent.map((answer) => answer.latency)));
      const rate = (1000 * (recent.length - 1)) / (recent.at(-1).at - recent[0].at);
      lines.unshift(`answer ${latency} ms after the frame, ${rate.toFixed(1)} a second`);
      parts.root.dataset.latency = latency;
    }
    parts.numbers.textContent = lines.join("\n");
    Object.assign(parts.root.dataset, { answers, sent, dropped });
  }

  /** Show the video, and send its frames until the source is stopped. */
  async function run(mine, isFile) {
    if (!video.requestVideoFrameCallback) {
      say("This browser cannot hand out a video's frames: use a newer one.");
      return;
    }
    state = {
      isFile, waiting: [], underway: null, encoding: false, due: -Infinity, offset: 0, last: -Infinity,
      recent: [], sent: 0, dropped: 0, answers: 0,
    };
    state.watch = setInterval(() => {
      showNumbers();
      const quiet = state.underway && performance.now() - state.underway.at > SILENCE;
      say(quiet ? "The kernel does not answer: it is busy with a cell, or was stopped." : "");
    }, 1000);
    fill(video);
    parts.Stop.disabled = false;
    const onFrame = (now, metadata) => {
      if (mine !== turn) return;
      take(mine, now, metadata);
      video.requestVideoFrameCallback(onFrame);
    };
    video.requestVideoFrameCallback(onFrame);
    await video.play();
  }

  /** Encode a frame if the next moment of a clip is due. */
  function take(mine, now, { mediaTime, captureTime }) {
    const current = state;
    const taken = (!current.isFile && captureTime) || now;
    let seconds = taken / 1000;
    if (current.isFile) {
      // A file starts over when it ends; its time goes on.
      if (mediaTime < current.last) current.offset += current.last - mediaTime + 1 / 30;
      current.last = mediaTime;
      seconds = mediaTime + current.offset;
    }
    const step = 1 / model.get("rate");
    if (seconds < current.due - 1 / 60) return;
    current.due = Math.max(current.due + step, seconds + step / 2);
    if (current.encoding) {
      current.dropped += 1;
      return;
    }
    current.encoding = true;
    pen.drawImage(video, 0, 0, width, height);
    canvas.toBlob(
      async (blob) => {
        const jpeg = await blob.arrayBuffer();
        current.encoding = false;
        if (mine !== turn) return;
        current.waiting.push({ jpeg, seconds, taken });
        if (current.waiting.length > model.get("most_waiting")) {
          current.waiting.shift();
          current.dropped += 1;
        }
        send();
      },
      "image/jpeg",
      0.9,
    );
  }

  function send() {
    if (state.underway || !state.waiting.length) return;
    const batch = state.waiting.splice(0);
    state.underway = { taken: batch.at(-1).taken, at: performance.now() };
    state.sent += batch.length;
    const times = batch.map((frame) => frame.seconds);
    model.send({ kind: "frames", source: source(), times }, undefined, batch.map((frame) => frame.jpeg));
  }

  async function openStream(what, ask) {
    const mine = stop();
    if (!navigator.mediaDevices) {
      say(`Browsers give the ${what} to https and localhost only: open this page by such an address.`);
      return;
    }
    say(`Waiting for the ${what}: the browser asks whether this page may see it.`);
    try {
      const stream = await ask();
      if (mine !== turn) {
        for (const track of stream.getTracks()) track.stop();
        return;
      }
      stream.getVideoTracks()[0].addEventListener("ended", () => mine === turn && stop());
      video.srcObject = stream;
      say("");
      await run(mine, false);
    } catch (error) {
      if (mine === turn) say(TROUBLE[error.name]?.(what) ?? `The ${what} does not open: ${error.message}`);
    }
  }

  /** Play a file here, or leave it to the kernel where the browser cannot. */
  function openFile(file) {
    const mine = stop();
    say(`Opening ${file.name}.`);
    const leave = () => {
      if (mine !== turn) return;
      video.onerror = video.onloadeddata = null;
      sendFile(file, mine).catch((error) => mine === turn && say(`${file.name}: ${error.message}`));
    };
    video.onerror = leave;
    video.onloadeddata = () => {
      if (mine !== turn) return;
      video.onerror = video.onloadeddata = null;
      if (!video.videoWidth) return leave();
      say("");
      run(mine, true).catch((error) => mine === turn && say(`${file.name}: ${error.message}`));
    };
    video.src = URL.createObjectURL(file);
    video.load();
  }

  async function sendFile(file, mine) {
    const megabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
    const most = model.get("most_bytes");
    if (file.size > most || !file.size) {
      const size = file.size ? `has ${megabytes(file.size)} MB, and at most ${megabytes(most)} are sent` : "is empty";
      say(`${file.name} cannot be played by this browser and ${size}: use r21d predict.`);
      return;
    }
    parts.Stop.disabled = false;
    for (let at = 0; at < file.size; at += CHUNK) {
      say(`The browser cannot play ${file.name}: sending it, ${megabytes(at)} of ${megabytes(file.size)} MB.`);
      const chunk = await file.slice(at, at + CHUNK).arrayBuffer();
      if (mine !== turn) return;
      const received = new Promise((resolve) => (acknowledge = resolve));
      if (at + CHUNK >= file.size) say(`The kernel decodes ${file.name}.`);
      model.send({ kind: "file", source: source(), name: file.name, at, size: file.size }, undefined, [chunk]);
      await received;
      if (mine !== turn) return;
    }
  }
  let acknowledge = () => {};

  function onMessage(message, buffers) {
    const [sender] = message.source.split(":");
    // Another view of this widget has started: the kernel watches one source at a time.
    if (sender !== view && state) {
      stop();
      say("Another view of this widget took over.");
    }
    if (message.source !== source()) return;
    if (message.kind === "error") {
      stop();
      say(message.text);
    } else if (message.kind === "received") {
      acknowledge();
    } else if (message.kind === "prediction") {
      poster.src = URL.createObjectURL(new Blob([buffers[0]], { type: "image/jpeg" }));
      fill(poster);
      showAnswer(message.top);
      parts.numbers.textContent = message.summary;
      say("");
      acknowledge();
    } else if (state) {
      const { taken } = state.underway;
      state.underway = null;
      if (message.kind === "answer") {
        state.answers += 1;
        const at = performance.now();
        state.recent.push({ at, latency: at - taken });
        if (state.recent.length > REMEMBERED) state.recent.shift();
        showAnswer(message.top);
        showNumbers();
      }
      send();
    }
  }
  model.on("msg:custom", onMessage);

  parts.Camera.onclick = () =>
    openStream("camera", () =>
      navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, frameRate: { ideal: 30 } } }),
    );
  parts.Screen.onclick = () =>
    openStream("screen", () => navigator.mediaDevices.getDisplayMedia({ video: { frameRate: 30 } }));
  parts.File.onclick = () => parts.picker.click();
  parts.Stop.onclick = stop;
  parts.picker.onchange = () => {
    if (parts.picker.files.length) openFile(parts.picker.files[0]);
    parts.picker.value = "";
  };
  const over = (event, inside) => {
    event.preventDefault();
    event.stopPropagation();
    parts.stage.classList.toggle("r21d-live-over", inside);
  };
  parts.stage.ondragover = (event) => over(event, true);
  parts.stage.ondragleave = (event) => over(event, false);
  parts.stage.ondrop = (event) => {
    over(event, false);
    if (event.dataTransfer.files.length) openFile(event.dataTransfer.files[0]);
    else say("That was no file: drop a video file.");
  };
  stop();

  return () => {
    model.off("msg:custom", onMessage);
    stop();
  };
}

export default { render };
