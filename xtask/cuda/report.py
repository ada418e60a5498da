#!/usr/bin/env python3
"""Tests and times Tallow on this machine's NVIDIA GPU, from a folder that `cargo xtask cuda-build` packed.

    python3 report.py --out results
    python3 report.py --out results --minutes 20 --stage versions,tests,accuracy
    python3 report.py --list

It needs an NVIDIA driver of CUDA 13 or newer, and Python with PyTorch, whose packages hold the libraries of CUDA and cuDNN. All stages but the
last ones are done in ten minutes. Every stage has a time limit, and none stops the others. `report.json` has the results and is written anew
after each stage, `report.log` all that was printed; `--copy` puts both into a second folder after each stage, for a machine that is taken away.
A process on which the device has failed once fails at all that follows, so that what failed is done once more in a process of its own.
Exits with 1 if a stage failed, and with 2 if it was called wrongly.
"""

import argparse
import concurrent.futures
import glob
import hashlib
import json
import os
import re
import shutil
import signal
import site
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The most telling first: they are compiled first and timed first.
NETWORKS = ["resnet18", "vgg16-bn", "vgg16", "resnet20", "cnn", "fc", "cifar-cnn", "lenet", "vgg16-slim"]
SMALL = ["fc", "cnn", "cifar-cnn", "lenet"]
PRECISIONS = ["f32", "tf32", "bf16"]
# Crates, and which of their tests. Of those of NCCL some need one GPU alone.
TESTS = {"tallow-ops": ["device"], "tallow-models": ["device"], "tallow-train": ["device", "nccl"]}
# Seconds since the start until which PyTorch may begin to compile another arm.
COMPILE_UNTIL = 190


class Report:
    """The files of results, and the programs with their environment."""

    def __init__(self, out, minutes, copy=None):
        self.out, self.copy = out, copy
        self.out.mkdir(parents=True, exist_ok=True)
        self.log = open(self.out / "report.log", "a", encoding="utf-8")
        self.lock = threading.Lock()
        self.begun = time.monotonic()
        self.end = self.begun + 60 * minutes
        self.data = {"started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "stages": {}}
        self.programs = self.out / "programs"
        self.peers = {}
        self.env = dict(os.environ)
        bases = site.getsitepackages() + [site.getusersitepackages()]
        folders = [f for base in bases for f in glob.glob(base + "/nvidia/*/lib")]
        paths = folders + [os.environ.get("LD_LIBRARY_PATH", "")]
        self.env["LD_LIBRARY_PATH"] = ":".join(p for p in paths if p)
        self.env["TALLOW_PYTHON"] = sys.executable
        if (HERE / "data").is_dir():
            self.env["TALLOW_DATA"] = str(HERE / "data")

    def write(self, text):
        with self.lock:
            self.log.write(text)
            self.log.flush()

    def say(self, text):
        print(text, flush=True)
        self.write(text + "\n")

    def save(self):
        new = self.out / "report.json.new"
        new.write_text(json.dumps(self.data, indent=1) + "\n")
        new.replace(self.out / "report.json")
        if self.copy is None:
            return
        try:
            self.copy.mkdir(parents=True, exist_ok=True)
            for name in ["report.json", "report.log"]:
                shutil.copy(self.out / name, self.copy / name)
        except OSError as error:
            self.say(f"    not copied: {error}")

    def unpack(self):
        if not (self.programs / "xtask").is_file():
            self.programs.mkdir(parents=True, exist_ok=True)
            with tarfile.open(HERE / "programs.tar.xz") as archive:
                archive.extractall(self.programs, filter="data")
            # The program looks for the scripts of PyTorch's side beside itself.
            shutil.copytree(HERE / "pytorch", self.programs / "pytorch", dirs_exist_ok=True)

    def left(self):
        return self.end - time.monotonic()

    def run(self, command, limit, good=(0,), **env):
        """Runs a command for at most so many seconds. Its output, on both channels, is returned and logged; `good` are the exit codes of success."""
        shown = " ".join(map(str, command))
        process = subprocess.Popen(
            [str(c) for c in command], env={**self.env, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, text=True, errors="replace", start_new_session=True,
        )
        timed_out = threading.Event()

        def end():
            timed_out.set()
            # With what it started.
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(max(limit, 1), end)
        timer.start()
        try:
            text = process.stdout.read()
            code = process.wait()
        finally:
            timer.cancel()
        # In one piece, since commands may run beside each other.
        self.write(f"\n$ {shown}\n{text}")
        if timed_out.is_set():
            raise Failure(f"took longer than {limit:.0f} s: {shown}", text)
        if code not in good:
            raise Failure(f"exit code {code}: {shown}", text)
        return text

    def xtask(self, *arguments):
        return [self.programs / "xtask", *arguments]


class Failure(Exception):
    """A command that failed, with its output."""

    def __init__(self, message, text):
        super().__init__(message)
        self.text, self.tail = text, text[-2000:]


class Stage(Exception):
    """A stage that failed and has results all the same."""

    def __init__(self, message, results):
        super().__init__(message)
        self.results = results


class Peer:
    """PyTorch with one network, in a process of its own."""

    def __init__(self, report, name):
        self.name = name
        self.errors = open(report.out / f"pytorch-{name}.log", "w", encoding="utf-8")
        command = [sys.executable, str(HERE / "pytorch" / "cuda_steps.py"), name, "--compile-until", str(COMPILE_UNTIL)]
        self.process = subprocess.Popen(
            command, env=report.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, start_new_session=True
        )
        self.replies = concurrent.futures.ThreadPoolExecutor(1)
        self.prepared = self.ask({"do": "prepare"})

    def ask(self, request):
        """A future reply."""
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

        def reply():
            line = self.process.stdout.readline()
            if not line:
                raise Failure(f"PyTorch's process for {self.name} ended", "")
            return json.loads(line)

        return self.replies.submit(reply)

    def end(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.errors.close()
        self.replies.shutdown(wait=False)


# ---- stages: each takes the report and its seconds, and returns what goes into the JSON ----------------------------------------------


def versions(report, limit):
    found, problems = {"python": sys.version.split()[0]}, []
    # PyTorch compiles while the stages behind this one run.
    for name in NETWORKS:
        try:
            report.peers[name] = Peer(report, name)
        except OSError as error:
            problems.append(f"pytorch {name}: {error}")
    query = "name,driver_version,memory.total,compute_cap,clocks.max.sm,power.limit"
    code = "import json, torch; print(json.dumps([torch.__version__, torch.version.cuda, torch.backends.cudnn.version()]))"
    commands = {
        "card": (["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], (0,)),
        "tallow": (report.xtask("--version"), (0,)),
        "doctor": (report.xtask("doctor"), (0, 1)),
        "torch": ([sys.executable, "-c", code], (0,)),
    }
    with concurrent.futures.ThreadPoolExecutor(len(commands)) as pool:
        runs = {name: pool.submit(report.run, command, limit - 5, good) for name, (command, good) in commands.items()}
    for name, run in runs.items():
        try:
            found[name] = run.result().strip()
        except (Failure, OSError) as error:
            problems.append(f"{name}: {error}")
    # Warnings may stand before it.
    libraries = next(parsed(found.get("torch", ""), "["), None)
    if libraries is not None:
        found.update(zip(["torch", "cuda", "cudnn"], libraries))
    if problems:
        raise Stage("; ".join(problems), found)
    return found


def parsed(text, start):
    """JSON values among the lines of an output that begin so. A line that was cut off is left out."""
    for line in text.splitlines():
        if line.startswith(start):
            try:
                yield json.loads(line)
            except ValueError:
                pass


def tests(report, limit):
    end, found = time.monotonic() + limit, {}
    with concurrent.futures.ThreadPoolExecutor(len(TESTS)) as pool:
        runs = {name: pool.submit(tested, report, name, end) for name in TESTS}
    for name, run in runs.items():
        try:
            found[name] = run.result()
        except (Failure, OSError) as error:
            found[name] = {"problem": str(error)}
    problems = [f"{name}: {entry['problem']}" for name, entry in found.items() if "problem" in entry]
    if problems:
        raise Stage("; ".join(problems), found)
    return found


def tested(report, name, end):
    """Tests of a crate in one process, and those that failed there, or never began, each in a process of its own."""
    program = report.programs / name
    listed = re.findall(r"^(\S+): test$", report.run([program, *TESTS[name], "--list"], 30), re.M)
    entry = {}
    try:
        # One thread: every test has a device of its own.
        text = report.run([program, *TESTS[name], "--test-threads", "1", "--nocapture"], 0.8 * (end - time.monotonic()))
        left = []
    except Failure as failure:
        text, entry["problem"] = failure.text, str(failure)
        left = [test for test in listed if test not in passed(text)]
    # Of the networks there is a line each, also where not all had their turn.
    shown = [r"^test result: .*$", r"^.* panicked at .*$", r"SKIPPED: .*$", r"^.* \(train (?:true|false)\): .*$"]
    entry["summary"] = re.findall("|".join(shown), text, re.M)
    # What needs a second GPU may be left out, and nothing else.
    skipped = re.search(r"SKIPPED: (?!1 CUDA devices).*", text)
    if skipped:
        entry.setdefault("problem", skipped[0])

    def alone(test):
        command = [program, test, "--exact", "--test-threads", "1", "--nocapture"]
        outputs = []
        # The second time each launch waits, so that the error of a kernel is that of its own launch.
        for env in [{}, {"CUDA_LAUNCH_BLOCKING": "1"}]:
            time_left = end - time.monotonic()
            if time_left < 5:
                outputs.append("there was no time left")
                break
            try:
                report.run(command, min(60, time_left), **env)
                outputs.append("passed")
                break
            except Failure as failure:
                outputs.append(f"{failure}\n{failure.tail}")
        return outputs

    if left:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            entry["alone"] = dict(zip(left, pool.map(alone, left)))
        failed = [test for test, outputs in entry["alone"].items() if outputs[0] != "passed"]
        entry["problem"] += f"; of {len(left)} tests, each alone, these failed: {', '.join(failed) or 'none'}"
    return entry


def passed(text):
    """Tests that passed, by the output of one thread: what a test prints stands between its name and how it ended."""
    parts = re.split(r"^test (\S+) \.\.\. ", text, flags=re.M)
    ends = [re.search(r"^(?:.* )?(ok|ignored.*|FAILED)$", part, re.M) for part in parts[2::2]]
    return [name for name, end in zip(parts[1::2], ends) if end and end[1] != "FAILED"]


def ours(report, limit):
    """Steps, inference and kernels of ours, when PyTorch no longer compiles."""
    # Later where the stages before this one took less time than they might have.
    until = max(time.monotonic() + limit / 2 - 5, min(report.begun + COMPILE_UNTIL + 30, report.end - limit))
    for peer in report.peers.values():
        try:
            peer.prepared.result(max(1, until - time.monotonic()))
        except Exception as error:
            report.say(f"    {peer.name}: {type(error).__name__}: {error}")
            peer.end()
    end = time.monotonic() + limit / 2
    best, problems, text, todo = {}, [], "", NETWORKS
    while todo and end - time.monotonic() > 10:
        output, problem = timed(report, todo, end)
        text += output
        for line in parsed(output, "{"):
            key = (line["network"], line["precision"])
            if "error" in best.get(key, {"error": None}):
                best[key] = line
        problems += [problem] * bool(problem)
        # The first network that has no time may have spoilt the process for the others.
        bad = [name for name in todo if any("error" in best.get((name, p), {"error": None}) for p in PRECISIONS)]
        todo = bad[1:]
    lines = [best[name, p] for name in NETWORKS for p in PRECISIONS if (name, p) in best]
    plans = sorted(set(re.findall(r"(?:Forward|InputGradient|WeightGradient) (?:F32|Tf32|Bf16) Convolution .*", text)))
    found = {"lines": lines, "plans": plans, "device": described(text)}
    problems += [f"{line['network']} {line['precision']}: {line['error']}" for line in lines if "error" in line]
    problems += [f"{name} {p}: was not timed" for name in NETWORKS for p in PRECISIONS if (name, p) not in best]
    if problems:
        raise Stage("; ".join(problems), found)
    return found


def timed(report, networks, end):
    """Output of the times of these networks, and what went wrong."""
    command = report.xtask("cuda-times", "--networks", ",".join(networks), "--seconds", "0.3", "--kernels")
    try:
        return report.run(command, end - time.monotonic(), good=(0, 1), RUST_LOG="tallow_cuda=debug,tallow_ops=warn"), None
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
    found, failed, end = {}, {}, time.monotonic() + limit
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
        peer.end()
    results = {"times": found, "failed": failed, "table": table(report, found)}
    for row in results["table"]:
        report.say("    " + row)
    if not found:
        raise Stage("PyTorch timed nothing", results)
    return results


def table(report, theirs):
    """A line for each network and precision: our time, and that of PyTorch's fastest arm, eager and compiled."""
    lines = (report.data["stages"].get("ours", {}).get("results") or {}).get("lines", [])
    rows = []
    for line in lines:
        if "error" in line:
            continue
        arms = [arm for arm in theirs.get(line["network"], []) if arm["precision"] == line["precision"]]
        text = f"{line['network']:<10} {line['precision']:<5} {line['step_ms']:8.3f} ms ({line['queued_ms']:.3f} queued)"
        for kind, compiled in [("eager", False), ("compiled", True)]:
            fastest = min((arm for arm in arms if arm["compiled"] == compiled), key=lambda arm: arm["step_ms"], default=None)
            if fastest:
                text += f"; {kind} {fastest['step_ms']:.3f} ms, {fastest['step_ms'] / line['step_ms']:.2f} times ours ({fastest['arm']})"
        rows.append(text)
    return rows


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


# Experiments and settings: small networks, which a graph is for.
GRAPHS = [
    ("cifar10-cnn", []),
    ("cifar10-vgg16", ["model.name=resnet20"]),
    ("cifar10-cnn", ["train.precision=bf16"]),
]


def graphs(report, limit):
    """Small networks with a CUDA graph and without: the weights must be the same, and steps must have been launched."""
    found, problems, end = [], [], time.monotonic() + limit
    for experiment, settings in GRAPHS:
        name = " ".join([experiment, *settings])
        try:
            entry = graph(report, end, experiment, settings)
        except (Failure, OSError, ValueError, TypeError, KeyError) as error:
            problems.append(f"{name}: {error}")
            continue
        found.append({"name": name, **entry})
        if not entry["same_bits"]:
            problems.append(f"{name}: with a graph the weights are others")
        if not entry["launched"]:
            problems.append(f"{name}: no step was launched as a graph: {' '.join(entry['runs']['graph'][0]['log'])}")
        with_graph, without = entry["milliseconds"]["graph"], entry["milliseconds"]["plain"]
        report.say(f"    {name}: a step takes {with_graph:.3f} ms with a graph, {without:.3f} ms without: {without / with_graph:.2f} times")
    if problems:
        raise Stage("; ".join(problems), found)
    return found


def graph(report, end, experiment, settings):
    """Two epochs with and without a graph; the second one is timed."""
    sets = ["train.epochs=2", "data.train_samples=12800", "data.test_samples=2560", "train.workers=8", *settings]
    runs, milliseconds = {}, {}
    for way, value in [("graph", "true"), ("plain", "false")]:
        done = train(report, end - time.monotonic(), experiment, 0, *sets, f"train.cuda_graph={value}")
        runs[way] = done
        steps = done[0]["profile"]["steps"] / len(done[0]["epochs"])
        milliseconds[way] = 1e3 * 12800 / done[0]["epochs"][-1]["images_per_second"] / steps
    return {
        "same_bits": [run["weights"] for run in runs["graph"]] == [run["weights"] for run in runs["plain"]],
        "launched": runs["graph"][0]["profile"].get("graph_steps", 0),
        "milliseconds": milliseconds,
        "runs": runs,
    }


def memory(report, limit):
    """Memory that the device has in use, each second of 2,000 steps; and what reading and augmentation cost."""
    used, stop = [], threading.Event()

    def watch():
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while not stop.wait(1):
            found = subprocess.run(query, capture_output=True, text=True)
            words = found.stdout.split()
            used.append(int(words[0]) if found.returncode == 0 and words and words[0].isdigit() else None)

    watcher = threading.Thread(target=watch)
    watcher.start()
    end = time.monotonic() + limit
    sets = ["train.epochs=6", "train.max_steps=2000", "train.evaluate_every=100", "train.workers=8"]
    try:
        runs = train(report, end - time.monotonic(), "cifar10-vgg16", 0, *sets)
    finally:
        stop.set()
        watcher.join()
    found = {"mib": used, "runs": runs, "epochs": {"f32": epoch_by_steps(report, runs, "f32")}}
    problems = []
    known = [mb for mb in used if mb is not None]
    settled, last = known[len(known) // 3:][:1], known[-5:-1]
    if settled and last and max(last) > settled[0] + 64:
        problems.append(f"memory grew from {settled[0]} to {max(last)} MiB")
    try:
        half = train(report, end - time.monotonic(), "cifar10-vgg16", 0, *sets, "train.precision=bf16")
        found["epochs"]["bf16"] = epoch_by_steps(report, half, "bf16")
    except Failure as failure:
        problems.append(str(failure))
    if problems:
        raise Stage("; ".join(problems), found)
    return found


def epoch_by_steps(report, runs, precision):
    """Time of an epoch with augmentation by that of its steps alone: the median of the epochs behind the first one, without evaluation."""
    lines = (report.data["stages"].get("ours", {}).get("results") or {}).get("lines", [])
    line = next((line for line in lines if (line["network"], line["precision"]) == ("vgg16-slim", precision) and "error" not in line), None)
    rates = sorted(row["images_per_second"] for run in runs for row in (run["epochs"] or [])[1:])
    if line is None or not rates:
        return None
    step = 1e3 * line["batch"] / rates[len(rates) // 2]
    report.say(f"    {precision}: a step of an epoch takes {step:.3f} ms, alone {line['queued_ms']:.3f} ms: {step / line['queued_ms']:.3f} times")
    return {"step_ms": step, "alone_ms": line["queued_ms"]}


def sanitizer(report, limit):
    tool = shutil.which("compute-sanitizer", path=report.env.get("PATH"))
    if tool is None:
        return {"skipped": "there is no compute-sanitizer"}
    found, problems, end = {}, [], time.monotonic() + limit
    # Races in the kernels with shared memory, whose tests run little else; memory in all of them.
    checks = [
        ("racecheck", [], ["device::batch_norm", "device::losses", "device::linear_and_elementwise"]),
        # Libraries ask the driver for what it may refuse, which is no fault.
        ("memcheck", ["--report-api-errors", "no"], ["device"]),
    ]
    for check, options, names in checks:
        command = [tool, "--tool", check, "--error-exitcode", "9", *options]
        command += [report.programs / "tallow-ops", *names, "--test-threads", "1"]
        try:
            text = report.run(command, end - time.monotonic())
        except Failure as failure:
            text = failure.text
            problems.append(f"{check}: {failure}")
        found[check] = {"summary": re.findall(r"^=+ (?:ERROR|RACECHECK) SUMMARY.*$", text, re.M), "end": text[-2000:]}
    if problems:
        raise Stage("; ".join(problems), found)
    return found


def accuracy(report, limit):
    found, end = {}, time.monotonic() + limit
    for precision in PRECISIONS:
        found[precision] = []
        for seed in range(5):
            settings = [f"train.precision={precision}", "train.workers=8"]
            found[precision] += train(report, end - time.monotonic(), "cifar10-vgg16", seed, *settings)
    return {"runs": found}


# Name, function, seconds: the most telling first.
STAGES = [
    ("versions", versions, 90),
    ("tests", tests, 180),
    # Times of no kind, so that PyTorch may compile beside it.
    ("bits", bits, 90),
    ("ours", ours, 220),
    ("pytorch", pytorch, 80),
    ("graphs", graphs, 120),
    ("memory", memory, 90),
    ("sanitizer", sanitizer, 300),
    ("accuracy", accuracy, 3600),
]
# Stages that run only when they are named.
EXTRA = ["accuracy"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog="Example: python3 report.py --out results --stage versions,tests")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for report.json, report.log and what the stages leave")
    parser.add_argument("--copy", type=Path, metavar="DIR", help="second folder for report.json and report.log, after each stage")
    names = [name for name, _, _ in STAGES]
    usual = [name for name in names if name not in EXTRA]
    parser.add_argument("--stage", default=",".join(usual), help=f"stages to run, with commas between them; all but {', '.join(EXTRA)} by default")
    parser.add_argument("--minutes", type=float, default=9.5, help="minutes for all; what does not fit is left out")
    parser.add_argument("--list", action="store_true", help="print the stages with their time limits")
    arguments = parser.parse_args()
    if arguments.list:
        for name, _, limit in STAGES:
            print(f"{name:<12} {limit:>5} s")
        return 0
    wanted = [name for name in arguments.stage.split(",") if name]
    unknown = [name for name in wanted if name not in names]
    if unknown:
        parser.error(f"unknown stage {', '.join(unknown)}; known: {', '.join(names)}")
    if not (HERE / "programs.tar.xz").is_file():
        parser.error(f"there is no programs.tar.xz in {HERE}: run this in a folder that `cargo xtask cuda-build` made")
    if not arguments.minutes > 0:
        parser.error("--minutes: expected a number above 0")

    report = Report(arguments.out, arguments.minutes, arguments.copy)
    report.unpack()
    failed = False
    try:
        for name, function, limit in STAGES:
            if name not in wanted:
                continue
            limit = min(limit, report.left() - 5)
            start, entry = time.monotonic(), {"limit": round(limit)}
            report.say(f"==> {name}, at most {limit:.0f} s")
            try:
                if limit < 10:
                    raise Stage("there was no time left", None)
                entry.update(status="done", results=function(report, limit))
            except Stage as stage:
                entry.update(status="failed", message=str(stage), results=stage.results)
            except Failure as failure:
                entry.update(status="failed", message=str(failure), output=failure.tail)
            except Exception as error:
                # A fault of this script must not cost the stages behind it.
                entry.update(status="failed", message=f"{type(error).__name__}: {error}")
            entry["seconds"] = round(time.monotonic() - start, 1)
            failed |= entry["status"] != "done"
            report.data["stages"][name] = entry
            report.save()
            report.say(f"    {entry['status']} in {entry['seconds']} s {entry.get('message', '')}")
    finally:
        for peer in report.peers.values():
            peer.end()
    report.say(f"results: {report.out / 'report.json'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
