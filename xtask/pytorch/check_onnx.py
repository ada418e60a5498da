"""Compare exported networks with the originals: ONNX files in ONNX Runtime, checkpoints in PyTorch.

    pip install -r xtask/pytorch/requirements.txt -r xtask/pytorch/requirements-onnx.txt
    cargo build --release -p tallow-models --example export
    python xtask/pytorch/check_onnx.py target/release/examples/export [--full] [--markdown FILE] [NAME ...]

Each network has random weights and running statistics. Its ONNX file must pass the checker of the package `onnx`, with shapes inferred; the
logits that ONNX Runtime gives for three images, and for each alone, must differ by at most 1e-4 from the network's own. The `.pt` must load
with `weights_only=True` and hold the same numbers as the ONNX file, under the same names; where torchvision has the network,
`load_state_dict(strict=True)` must take it, and torchvision's logits are compared too.

Some networks are also compared on images of odd sizes, and small ones with bytes that the graph normalises. Networks of more than thirty million parameters are made a quarter as wide, unless --full is given. Exits with 1 and says what differs,
if anything does.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
import torch
import torchvision
from onnx import numpy_helper
from safetensors.numpy import load_file

LIMIT = 1e-4

# Sizes that pooling and strides do not divide, each for a kind of layer: windows beyond the border, uneven adaptive windows, cut patches.
ODD = {"resnet18": 75, "resnet20": 35, "resnet20-d": 35, "nin": 35, "vgg11-bn": 100, "mobilenet-v3-small": 75, "convnext-tiny": 70}

# torchvision's name of a network, where it has it with the same classes, sizes and names of parameters.
TORCHVISION = {
    **{name: name.replace("-", "_") for name in ["vgg11", "vgg11-bn", "vgg13", "vgg13-bn", "vgg16", "vgg16-bn", "vgg19", "vgg19-bn"]},
    **{f"resnet{depth}": f"resnet{depth}" for depth in [18, 34, 50, 101, 152]},
    "wide-resnet50-2": "wide_resnet50_2",
    "wide-resnet101-2": "wide_resnet101_2",
    "resnext50-32x4d": "resnext50_32x4d",
    "resnext101-32x8d": "resnext101_32x8d",
    "resnext101-64x4d": "resnext101_64x4d",
    "mobilenet-v3-small": "mobilenet_v3_small",
    "mobilenet-v3-large": "mobilenet_v3_large",
    "efficientnet-b0": "efficientnet_b0",
    "convnext-tiny": "convnext_tiny",
}


def difference(found, expected):
    return float(np.abs(np.asarray(found, np.float64) - np.asarray(expected, np.float64)).max())


def check(name, folder, full):
    """Figures of a network, and what is wrong with it."""
    wrong = []
    path = folder / f"{name}.onnx"
    data = load_file(folder / f"{name}.safetensors")
    images, logits = data["images"], data["logits"]

    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], {"images": images})
    alone = np.concatenate([session.run(["logits"], {"images": image[None]})[0] for image in images])
    off = max(difference(found, logits), difference(alone, logits))
    if not off <= LIMIT:
        wrong.append(f"logits differ by {off:.2e}")
    if np.abs(logits).max() < 1e-2 or difference(logits[0], logits[1]) < 1e-3:
        wrong.append(f"logits of at most {np.abs(logits).max():.1e} show nothing")

    prepared = folder / f"{name}.bytes.onnx"
    if prepared.exists():
        pixels = np.random.default_rng(0).integers(0, 256, images.shape, np.uint8)
        floats = (pixels.astype(np.float32) / 255 - 0.5) / 0.25
        (plain,) = session.run(["logits"], {"images": floats})
        session = onnxruntime.InferenceSession(prepared, providers=["CPUExecutionProvider"])
        (found,) = session.run(["logits"], {"images": pixels})
        if not difference(found, plain) <= LIMIT:
            wrong.append(f"with bytes, logits differ by {difference(found, plain):.2e}")

    state = torch.load(folder / f"{name}.pt", weights_only=True)
    arrays = {a.name: numpy_helper.to_array(a) for a in model.graph.initializer if "/" not in a.name}
    expected = {key: value.numpy() for key, value in state.items() if not key.endswith("num_batches_tracked")}
    if arrays.keys() != expected.keys():
        wrong.append(f"names differ: {sorted(arrays.keys() ^ expected.keys())}")
    for key in arrays.keys() & expected.keys():
        if arrays[key].shape != expected[key].shape or not np.array_equal(arrays[key], expected[key]):
            wrong.append(f"{key} differs")

    theirs = ""
    if name in TORCHVISION and full:
        network = getattr(torchvision.models, TORCHVISION[name])(weights=None)
        network.load_state_dict(state, strict=True)
        with torch.no_grad():
            gap = difference(network.eval()(torch.from_numpy(images)).numpy(), logits)
        theirs = f"{gap:.1e}"
        if not gap <= LIMIT:
            wrong.append(f"torchvision's logits differ by {gap:.2e}")
    operators = sorted({node.op_type for node in model.graph.node} - {"Identity"})
    row = (name, "x".join(map(str, images.shape[1:])), len(model.graph.node), f"{np.abs(logits).max():.2f}", f"{off:.1e}", theirs)
    return row, operators, wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("exporter")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--markdown", type=pathlib.Path)
    args = parser.parse_intermixed_args()
    torch.set_num_threads(2)

    listed = subprocess.run([args.exporter, "--list"], check=True, capture_output=True, text=True).stdout
    networks = [line.split() for line in listed.splitlines()]
    unknown = set(args.names) - {name for name, *_ in networks}
    if unknown:
        sys.exit(f"there are no networks {sorted(unknown)}")

    rows, operators, failed = [], set(), 0
    for name, parameters, narrowed in networks:
        if args.names and name not in args.names:
            continue
        divisor = "4" if int(parameters) > 30_000_000 and narrowed == "true" and not args.full else "1"
        for side in [[], [str(ODD[name])]] if name in ODD else [[]]:
            with tempfile.TemporaryDirectory() as folder:
                folder = pathlib.Path(folder)
                subprocess.run([args.exporter, name, folder, divisor, *side], check=True)
                row, used, wrong = check(name, folder, divisor == "1")
            shown = name if divisor == "1" else f"{name} (1/{divisor} of the width)"
            rows.append((shown, *row[1:]))
            operators.update(used)
            failed += bool(wrong)
            print(*rows[-1], *wrong, sep="  ", flush=True)

    versions = f"onnx {onnx.__version__}, ONNX Runtime {onnxruntime.__version__}, PyTorch {torch.__version__}, torchvision {torchvision.__version__}"
    print(versions)
    print("operators:", ", ".join(sorted(operators)))
    if args.markdown:
        titles = ("network", "images", "operators", "largest logit", "ONNX Runtime", "torchvision")
        lines = [titles, ("---",) * len(titles), *rows]
        table = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
        args.markdown.write_text(f"{table}\n\n{versions}\n")
    print(f"{len(rows)} exports, {failed} with differences")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
