// Runs the exported network beside the page, so that the page never waits for it.
// Comes after onnxruntime-web in one blob, because a page opened as a file may not load a worker's file.
"use strict";

let session = null;
let clips = null;

async function start(message) {
  // More threads would need headers that a static host does not send.
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = message.wasm;
  const glue = new Blob([message.glue], { type: "text/javascript" });
  ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(glue) };
  clips = message.clips;
  session = await ort.InferenceSession.create(new Uint8Array(message.network), {
    executionProviders: ["wasm"],
  });
}

// Centre crop and normalisation: clip_len frames of uint8 RGB become (1, 3, T, crop, crop) float32.
function toNetwork(frames) {
  const [height, width] = clips.resize;
  const crop = clips.crop;
  const top = Math.floor((height - crop) / 2);
  const left = Math.floor((width - crop) / 2);
  const out = new Float32Array(3 * frames.length * crop * crop);
  let place = 0;
  for (let channel = 0; channel < 3; channel++) {
    const mean = 255 * clips.mean[channel];
    const std = 255 * clips.std[channel];
    for (const frame of frames) {
      for (let y = top; y < top + crop; y++) {
        for (let x = left; x < left + crop; x++) {
          out[place++] = (frame[3 * (y * width + x) + channel] - mean) / std;
        }
      }
    }
  }
  return new ort.Tensor("float32", out, [1, 3, frames.length, crop, crop]);
}

function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

onmessage = async ({ data }) => {
  try {
    if (data.wasm) {
      await start(data);
      postMessage({ id: data.id });
      return;
    }
    const begun = performance.now();
    const { logits } = await session.run({ clips: toNetwork(data.frames) });
    const milliseconds = performance.now() - begun;
    postMessage({ id: data.id, probabilities: softmax(logits.data), milliseconds });
  } catch (error) {
    postMessage({ id: data.id, error: String(error.message ?? error) });
  }
};
