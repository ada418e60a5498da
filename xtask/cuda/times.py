"""Stages of report.py that time steps and inference, ours and PyTorch's."""

import json
import re
import time

from frame import BEGIN_BY, END_BY, EPOCH, NETWORKS, PRECISIONS, Failure, Stage, make_peers, parsed, results_of


# Networks that wait for the host: their steps in the trainer are timed too, as a CUDA graph and without.
GRAPHED = ["fc", "cnn", "cifar-cnn", "lenet", "resnet20"]


def ours(report, limit):
    """Steps, inference and kernels of ours, when PyTorch no longer compiles."""
    # Later where the stages before this one took less time than they might have.
    until = max(time.monotonic() + limit / 2 - 5, min(report.begun + END_BY + 5, report.end - limit))
    for peer in report.peers.values():
        try:
            peer.prepared.result(max(1, until - time.monotonic()))
        except Exception as error:
            report.say(f"    {peer.name}: {type(error).__name__}: {error}")
            peer.end()
    end = time.monotonic() + limit / 2
    best, trained, problems, text = {}, [], [], ""

    def run(names):
        """Times these networks, and returns those that have no time yet."""
        nonlocal text, problems
        if end - time.monotonic() < 10:
            return []
        # The steps in the trainer once, after the others.
        output, problem = timed(report, names, end, [] if text else GRAPHED)
        text += output
        for line in parsed(output, "{"):
            if "trained" in line:
                trained.append(line)
                continue
            key = (line["network"], line["precision"])
            if "error" in best.get(key, {"error": None}):
                best[key] = line
        problems += [problem] * bool(problem)
        return [name for name in names if any("error" in best.get((name, p), {"error": None}) for p in PRECISIONS)]

    todo, suspects = NETWORKS, []
    while todo:
        # The first network that has no time may have spoilt the process for the others.
        bad = run(todo)
        suspects += bad[:1]
        todo = bad[1:]
    for name in suspects:
        run([name])
    lines = [best[name, p] for name in NETWORKS for p in PRECISIONS if (name, p) in best]
    plans = sorted(set(re.findall(r"(?:Forward|InputGradient|WeightGradient) (?:F32|Tf32|Bf16) Convolution .*", text)))
    found = {"lines": lines, "trained": trained, "plans": plans, "device": described(text)}
    problems += [f"{line['trained']} {line['precision']} in the trainer: {line['error']}" for line in trained if line["error"]]
    problems += [f"{line['network']} {line['precision']}: {line['error']}" for line in lines if "error" in line]
    problems += [f"{name} {p}: was not timed" for name in NETWORKS for p in PRECISIONS if (name, p) not in best]
    if problems:
        raise Stage("; ".join(problems), found)
    return found


def timed(report, networks, end, trained):
    """Output of the times of these networks, and of steps of some in the trainer, and what went wrong."""
    command = report.xtask("cuda-times", "--networks", ",".join(networks), "--seconds", "0.3", "--kernels")
    if trained:
        command += ["--trained", ",".join(trained)]
    # With the reason for which steps run without a CUDA graph.
    log = "tallow_cuda=debug,tallow_ops=warn,tallow_train::graph=debug"
    try:
        return report.run(command, end - time.monotonic(), good=(0, 1), live=True, RUST_LOG=log), None
    except Failure as failure:
        return failure.text, str(failure)


def described(text):
    """Description of the device in cuDNN's words, which may have several lines."""
    start = re.search(r"cuDNN \d+ describes the device as ", text)
    if start is None:
        return None
    try:
        _, end = json.JSONDecoder().raw_decode(text, start.end())
        return text[start.end():end]
    except ValueError:
        return text[start.end():].split("\n")[0]


def pytorch(report, limit):
    found, failed, epochs, end = {}, {}, {}, time.monotonic() + limit
    if "ours" not in report.wanted:
        # Nothing has waited for PyTorch yet.
        end = time.monotonic() + report.left() - 10
        if not report.peers:
            make_peers(report, NETWORKS, max(10, min(BEGIN_BY, report.left() - 150)))
    for peer in report.peers.values():
        try:
            peer.prepared.result(max(1, end - 70 - time.monotonic()))
        except Exception as error:
            report.say(f"    {peer.name}: {type(error).__name__}: {error}")
            peer.end()
    for name in NETWORKS:
        peer = report.peers.get(name)
        if peer is None or peer.process.poll() is not None:
            failed[name] = "is not there"
            continue
        try:
            reply = peer.ask({"do": "time", "seconds": 0.3}).result(max(1, end - time.monotonic()))
            found[name] = reply["times"]
            failed.update({f"{name} {arm}": why for arm, why in reply["failed"].items()})
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
        # Of a late one no reply may be left; another request is made of the network of the epochs alone.
        if name in failed or name != EPOCH[0]:
            peer.end()
    # Last, alone on the device.
    peer = report.peers.get(EPOCH[0])
    for precision in ["f32", "bf16"]:
        name = f"epoch {precision}"
        if peer is None or peer.process.poll() is not None:
            failed[name] = f"PyTorch's process for {EPOCH[0]} is not there"
            continue
        try:
            reply = peer.ask({"do": "epoch", "precision": precision}).result(max(1, end - time.monotonic()))
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
            # A late reply would be taken for that to the next request.
            peer.end()
            continue
        if "epoch" in reply:
            epochs[precision] = reply["epoch"]
        else:
            failed[name] = reply["error"]
    results = {"times": found, "epochs": epochs, "failed": failed, "table": table(report, found)}
    for row in results["table"]:
        report.say("    " + row)
    if not found:
        raise Stage("PyTorch timed nothing", results)
    return results


def table(report, theirs):
    """A line for each network and precision: our time, and that of PyTorch's fastest arm, eager and compiled."""
    lines, trained = (results_of(report, "ours").get(name, []) for name in ["lines", "trained"])
    rows = []
    for line in lines:
        if "error" in line:
            continue
        arms = [arm for arm in theirs.get(line["network"], []) if arm["precision"] == line["precision"]]
        inference = min((arm["inference_ms"] for arm in arms if "inference_ms" in arm), default=None)
        text = f"{line['network']:<10} {line['precision']:<5} {line['step_ms']:8.3f} ms ({line['queued_ms']:.3f} queued)"
        for kind, compiled in [("eager", False), ("compiled", True)]:
            fastest = min((arm for arm in arms if arm["compiled"] == compiled), key=lambda arm: arm["step_ms"], default=None)
            if fastest:
                text += f"; {kind} {fastest['step_ms']:.3f} ms, {fastest['step_ms'] / line['step_ms']:.2f} times ours ({fastest['arm']})"
        for step in trained:
            if (step["trained"], step["precision"]) == (line["network"], line["precision"]):
                for name, ms in [("in the trainer", step["plain_ms"]), ("as a CUDA graph", step["graph_ms"])]:
                    text += f"; {name} {ms:.3f} ms" if ms else f"; {name} not timed"
        peak = min((arm["peak_mib"] for arm in arms if arm.get("peak_mib")), default=None)
        if peak is not None and line.get("peak_mib"):
            text += f"; memory {line['peak_mib']:.0f} MiB, eager {peak:.0f} MiB"
        if inference is not None:
            text += f"; inference {line['inference_ms']:.3f} ms, eager {inference:.3f} ms"
        rows.append(text)
    return rows
