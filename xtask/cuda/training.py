"""Stages of report.py that train experiments: the same bits, CUDA graphs, memory and epochs, accuracy."""

import concurrent.futures
import hashlib
import json
import subprocess
import threading
import time

from frame import EPOCH, IMAGES, PRECISIONS, Failure, Stage, results_of


def train(report, limit, experiment, seed, *settings):
    """Trains an experiment, and returns its records with digests of the weights, and what the log has of CUDA graphs."""
    out = report.out / "runs" / f"{experiment}-{seed}-{time.monotonic_ns()}"
    sets = [part for setting in settings for part in ("--set", setting)]
    command = report.xtask("run", experiment, "--device", "cuda", "--seeds", str(seed), "--out", out, *sets)
    # With other settings than the experiment's own its claims need not hold: 1.
    text = report.run(command, limit, good=(0, 1), RUST_LOG="warn,tallow_train::graph=debug")
    of_graphs = [line for line in text.splitlines() if "CUDA graph" in line]
    found = []
    for summary in sorted(out.glob("*/*/summary.json")):
        weights = summary.with_name("model.safetensors")
        profile = summary.with_name("profile.json")
        rows = summary.with_name("metrics.jsonl")
        found.append({
            "run": summary.parent.name,
            "summary": json.loads(summary.read_text()).get("metrics"),
            "weights": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "profile": json.loads(profile.read_text()) if profile.is_file() else None,
            "epochs": [json.loads(row) for row in rows.read_text().splitlines()] if rows.is_file() else None,
            "log": of_graphs,
        })
    if not found:
        raise Failure(f"{experiment} left no record", text)
    return found


def bits(report, limit):
    """An epoch twice in f32, and twice in bf16, all at once: the weights must be the same."""
    found, problems = {}, []
    sets = ["train.epochs=1", "train.max_steps=300", "train.workers=4"]

    def one(precision):
        return train(report, limit - 5, "cifar10-vgg16", 0, *sets, f"train.precision={precision}")

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        runs = {precision: [pool.submit(one, precision) for _ in range(2)] for precision in ["f32", "bf16"]}
    for precision, pair in runs.items():
        try:
            first, again = (run.result() for run in pair)
        except (Failure, OSError, ValueError) as error:
            problems.append(f"{precision}: {error}")
            continue
        same = [a["weights"] == b["weights"] for a, b in zip(first, again)]
        found[precision] = {"runs": first, "again": again, "same_bits": same}
        if not all(same):
            problems.append(f"two runs in {precision} have other bits")
    if problems:
        raise Stage("; ".join(problems), found)
    return found


# Experiments and settings, with the networks and precisions of PyTorch's arms: small networks, which a graph is for.
GRAPHS = [
    ("cifar10-cnn", [], "cifar-cnn", "f32"),
    ("cifar10-vgg16", ["model.name=resnet20"], "resnet20", "f32"),
    ("cifar10-cnn", ["train.precision=bf16"], "cifar-cnn", "bf16"),
    ("cifar10-cnn", ["model.name=lenet"], "lenet", "f32"),
]


def graphs(report, limit):
    """Small networks with a CUDA graph and without: the weights must be the same, and steps must have been launched."""
    found, problems, end = [], [], time.monotonic() + limit
    theirs = results_of(report, "pytorch").get("times", {})
    for experiment, settings, network, precision in GRAPHS:
        name = " ".join([experiment, *settings])
        try:
            entry = graph(report, end, experiment, settings)
        except Exception as error:
            problems.append(f"{name}: {type(error).__name__}: {error}")
            continue
        found.append({"name": name, **entry})
        if not entry["same_bits"]:
            problems.append(f"{name}: with a graph the weights are others")
        if not entry["launched"]:
            problems.append(f"{name}: no step was launched as a graph: {' '.join(entry['runs']['graph'][0]['log'])}")
        with_graph, without = entry["milliseconds"]["graph"], entry["milliseconds"]["plain"]
        text = f"    {name}: a step takes {with_graph:.3f} ms with a graph, {without:.3f} ms without: {without / with_graph:.2f} times"
        for kind, compiled in [("eager", False), ("compiled", True)]:
            arms = [arm["queued_ms"] for arm in theirs.get(network, []) if (arm["precision"], arm["compiled"]) == (precision, compiled)]
            if arms:
                text += f"; PyTorch {kind}, with a batch that is there, {min(arms):.3f} ms, {min(arms) / with_graph:.2f} times ours"
        report.say(text)
    if problems:
        raise Stage("; ".join(problems), found)
    return found


def graph(report, end, experiment, settings):
    """Two epochs with and without a graph; the second one is timed. Reading and augmentation are part of its steps."""
    sets = ["train.epochs=2", "data.test_samples=2560", "train.workers=8", *settings]
    runs, milliseconds = {}, {}
    for way, value in [("graph", "true"), ("plain", "false")]:
        done = train(report, end - time.monotonic(), experiment, 0, *sets, f"train.cuda_graph={value}")
        runs[way] = done
        steps = done[0]["profile"]["steps"] / len(done[0]["epochs"])
        milliseconds[way] = 1e3 * IMAGES / done[0]["epochs"][-1]["images_per_second"] / steps
    return {
        "same_bits": [run["weights"] for run in runs["graph"]] == [run["weights"] for run in runs["plain"]],
        "launched": runs["graph"][0]["profile"].get("graph_steps", 0),
        "milliseconds": milliseconds,
        "runs": runs,
    }


def memory(report, limit):
    """Memory that the device has in use, during 2,000 steps; and the time of an epoch with reading, augmentation and evaluation."""
    used, stop = [], threading.Event()

    def watch():
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while not stop.wait(0.3):
            try:
                words = subprocess.run(query, capture_output=True, text=True, timeout=5).stdout.split()
            except (OSError, subprocess.TimeoutExpired):
                words = []
            used.append(int(words[0]) if words and words[0].isdigit() else None)

    watcher = threading.Thread(target=watch)
    watcher.start()
    end = time.monotonic() + limit
    sets = ["train.epochs=6", "train.max_steps=2000", "train.workers=8"]
    try:
        runs = train(report, end - time.monotonic(), EPOCH[1], 0, *sets)
    finally:
        stop.set()
        watcher.join()
    found, problems = {"mib": used, "runs": runs, "epochs": {}}, []
    known = [mb for mb in used if mb is not None]
    # Reading the data is over in the second third; in both there are evaluations.
    third = len(known) // 3
    settled, last = known[third:2 * third], known[2 * third:]
    if settled and max(last) > max(settled) + 64:
        problems.append(f"memory grew from {max(settled)} to {max(last)} MiB")
    try:
        found["epochs"]["f32"] = epoch_by_steps(report, runs, "f32")
        half = train(report, end - time.monotonic(), EPOCH[1], 0, *sets, "train.precision=bf16")
        found["epochs"]["bf16"] = epoch_by_steps(report, half, "bf16")
    except Exception as error:
        problems.append(f"{type(error).__name__}: {error}")
    if problems:
        raise Stage("; ".join(problems), found)
    return found


def epoch_by_steps(report, runs, precision):
    """An epoch with augmentation by the time of its steps alone, and whole epochs with evaluation beside PyTorch's: the median of the epochs
    behind the first one that have all their steps."""
    lines = results_of(report, "ours").get("lines", [])
    line = next((line for line in lines if (line["network"], line["precision"]) == (EPOCH[0], precision) and "error" not in line), None)
    rows = [row for run in runs for row in (run["epochs"] or [])[1:-1]]
    if not rows:
        return None
    middle = lambda name: sorted(row[name] for row in rows)[len(rows) // 2]
    found = {"seconds": middle("seconds"), "train_seconds": IMAGES / middle("images_per_second")}
    text = f"    {precision}: an epoch takes {found['seconds']:.2f} s, its training {found['train_seconds']:.2f} s"
    if line is not None:
        steps = -(-IMAGES // line["batch"])
        found |= {"step_ms": 1e3 * found["train_seconds"] / steps, "alone_ms": line["queued_ms"], "inference_ms": line["inference_ms"]}
        text += f"; a step {found['step_ms']:.3f} ms, alone {line['queued_ms']:.3f} ms: {found['step_ms'] / line['queued_ms']:.3f} times"
    theirs = results_of(report, "pytorch").get("epochs", {}).get(precision)
    if theirs:
        found["pytorch"] = theirs
        text += f"; PyTorch's epoch {theirs['seconds']:.2f} s, {theirs['seconds'] / found['seconds']:.2f} times ours"
    report.say(text)
    return found


def accuracy(report, limit):
    """Five seeds of an experiment in each precision, the seeds at once."""
    found, problems, end = {}, [], time.monotonic() + limit

    def one(precision, seed):
        return train(report, end - time.monotonic(), EPOCH[1], seed, f"train.precision={precision}", "train.workers=3")

    for precision in PRECISIONS:
        with concurrent.futures.ThreadPoolExecutor(5) as pool:
            runs = [pool.submit(one, precision, seed) for seed in range(5)]
        found[precision] = []
        for seed, run in enumerate(runs):
            try:
                found[precision] += run.result()
            except (Failure, OSError, ValueError) as error:
                problems.append(f"{precision}, seed {seed}: {error}")
    if problems:
        raise Stage("; ".join(problems), {"runs": found})
    return {"runs": found}
