// Runs the original graph: node original.cjs NODE_MODULES MODEL_FOLDER WORK_FOLDER
// WORK/input.bin: (1, 3, 416, 416) float32 -> WORK/0.bin to 5.bin (Identity to Identity_5) and WORK/shapes.json
const fs = require("fs");
const path = require("path");
const [modules, folder, work] = process.argv.slice(2);
const tf = require(path.join(modules, "@tensorflow/tfjs"));
const wasm = require(path.join(modules, "@tensorflow/tfjs-backend-wasm"));

async function main() {
  wasm.setWasmPaths(path.join(modules, "@tensorflow/tfjs-backend-wasm/dist/"));
  await tf.setBackend("wasm");
  const model = JSON.parse(fs.readFileSync(path.join(folder, "nanodet.json")));
  const bytes = fs.readFileSync(path.join(folder, "nanodet.bin"));
  const net = await tf.loadGraphModel(tf.io.fromMemory({
    modelTopology: model.modelTopology,
    signature: model.signature,
    format: model.format,
    weightSpecs: model.weightsManifest[0].weights,
    weightData: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
  }));
  const raw = fs.readFileSync(path.join(work, "input.bin"));
  const input = new Float32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length));
  const names = ["Identity", "Identity_1", "Identity_2", "Identity_3", "Identity_4", "Identity_5"];
  const outputs = net.execute({ "input_1:0": tf.tensor(input, [1, 3, 416, 416]) }, names.map((n) => n + ":0"));
  for (const [i, out] of outputs.entries()) {
    fs.writeFileSync(path.join(work, `${i}.bin`), Buffer.from(new Float32Array(await out.data()).buffer));
  }
  fs.writeFileSync(path.join(work, "shapes.json"), JSON.stringify(outputs.map((o) => o.shape)));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
