#!/usr/bin/env python3
"""Tests and times Tallow on this machine's NVIDIA GPU, from a folder that `cargo xtask cuda-build` packed.

    python3 report.py --out results
    python3 report.py --out results --stage versions,tests
    python3 report.py --list

It needs an NVIDIA driver of CUDA 13 or newer, and Python with PyTorch, whose packages hold the libraries of CUDA and cuDNN. Every stage has a
time limit, and none stops the others. `report.json` has the results and is written anew after each stage, `report.log` all that was printed.
Exits with 1 if a stage failed, and with 2 if it was called wrongly.
"""

import argparse
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
NETWORKS = ["resnet20", "vgg16-bn", "resnet18", "vgg16-slim", "cnn", "fc", "cifar-cnn", "lenet"]
SMALL = ["fc", "cnn", "cifar-cnn", "lenet"]
TESTS = ["tallow-ops", "tallow-models", "tallow-train"]


class Report:
    """The files of results, and the programs with their environment."""

    def __init__(self, out):
        self.out = out
        self.out.mkdir(parents=True, exist_ok=True)
        self.log = open(self.out / "report.log", "a", encoding="utf-8")
        self.data = {"started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "stages": {}}
        self.programs = self.out / "programs"
        self.env = dict(os.environ)
        folders = [f for base in site.getsitepackages() for f in glob.glob(base + "/nvidia/*/lib")]
        paths = folders + [os.environ.get("LD_LIBRARY_PATH", "")]
        self.env["LD_LIBRARY_PATH"] = ":".join(p for p in paths if p)
        self.env["TALLOW_PYTHON"] = sys.executable
        if (HERE / "data").is_dir():
            self.env["TALLOW_DATA"] = str(HERE / "data")

    def say(self, text):
        print(text, flush=True)
        self.log.write(text + "\n")
        self.log.flush()

    def save(self):
        new = self.out / "report.json.new"
        new.write_text(json.dumps(self.data, indent=1) + "\n")
        new.replace(self.out / "report.json")

    def unpack(self):
        if not (self.programs / "xtask").is_file():
            self.programs.mkdir(parents=True, exist_ok=True)
            with tarfile.open(HERE / "programs.tar.xz") as archive:
                archive.extractall(self.programs, filter="data")
            # The program looks for the scripts of PyTorch's side beside itself.
            shutil.copytree(HERE / "pytorch", self.programs / "pytorch", dirs_exist_ok=True)

    def run(self, command, limit, good=(0,), **env):
        """Runs a command for at most so many seconds. Its output, on both channels, is returned and logged; `good` are the exit codes of success."""
        self.log.write(f"\n$ {' '.join(map(str, command))}\n")
        self.log.flush()
        process = subprocess.Popen(
            [str(c) for c in command], env={**self.env, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, text=True, errors="replace", start_new_session=True,
        )
        timed_out = threading.Event()

        def end():
            timed_out.set()
            # With what it started: PyTorch's side, say.
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(max(limit, 1), end)
        timer.start()
        lines = []
        try:
            for line in process.stdout:
                lines.append(line)
                self.log.write(line)
            code = process.wait()
        finally:
            timer.cancel()
            self.log.flush()
        text = "".join(lines)
        if timed_out.is_set():
            raise Failure(f"took longer than {limit:.0f} s: {' '.join(map(str, command))}", text)
        if code not in good:
            raise Failure(f"exit code {code}: {' '.join(map(str, command))}", text)
        return text

    def xtask(self, *arguments):
        return [self.programs / "xtask", *arguments]


class Failure(Exception):
    """A command that failed, with the end of its output."""

    def __init__(self, message, text):
        super().__init__(message)
        self.tail = text[-2000:]


# ---- stages: each takes the report and its seconds, and returns what goes into the JSON ----------------------------------------------


def versions(report, limit):
    found = {"python": sys.version.split()[0]}
    query = "name,driver_version,memory.total,compute_cap,clocks.max.sm,power.limit"
    found["card"] = report.run(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], 30).strip()
    code = "import json, torch; print(json.dumps([torch.__version__, torch.version.cuda, torch.backends.cudnn.version()]))"
    names = ["torch", "cuda", "cudnn"]
    found.update(zip(names, json.loads(report.run([sys.executable, "-c", code], 90).splitlines()[-1])))
    found["tallow"] = report.run(report.xtask("--version"), 30).strip()
    found["doctor"] = report.run(report.xtask("doctor"), 60)
    # One step of a network opens cuDNN, which says what it sees.
    step = report.xtask("bench", "--filter", "cnn", "--device", "cuda", "--repeats", "1", "--seconds", "0.01")
    text = report.run(step, limit, RUST_LOG="tallow_cuda=debug")
    described = re.search(r"cuDNN (\d+).*describes the device as (\{.*\})", text)
    if described:
        found["cudnn_loaded"], found["device"] = int(described[1]), described[2]
    return found


def tests(report, limit):
    found, failed = {}, []
    end = time.monotonic() + limit
    for name in TESTS:
        program = report.programs / name
        try:
            # One thread: every test has a device of its own.
            text = report.run([program, "device", "--test-threads", "1"], end - time.monotonic())
        except Failure as failure:
            text, found[name] = failure.tail, str(failure)
            failed.append(name)
        else:
            found[name] = "passed" if "SKIPPED" not in text else "SKIPPED"
        found[name + " summary"] = re.findall(r"^test result: .*$|^test .* FAILED$", text, re.M)
    if failed:
        raise Stage(f"tests of {', '.join(failed)} failed", found)
    return found


def bench(report, limit, networks, kinds=("step", "inference"), repeats=5, arms="eager"):
    rows, failed = [], []
    end = time.monotonic() + limit
    for name in networks:
        file = report.out / f"bench-{name}-{arms}.json"
        # Once each, even where the machine is not quiet: the row says so.
        command = report.xtask(
            "bench", "--filter", name, "--against", "pytorch", "--arms", arms, "--device", "cuda", "--repeats", str(repeats),
            "--retries", "0", "--json", file,
        )
        try:
            report.run(command, end - time.monotonic())
        except Failure as failure:
            failed.append(f"{name}: {failure}")
        if file.is_file():
            rows += [row for row in json.loads(file.read_text())["rows"] if row["kind"] in kinds]
    if failed:
        raise Stage("; ".join(failed), {"rows": rows})
    return {"rows": rows}


def bench_large(report, limit):
    return bench(report, limit, [n for n in NETWORKS if n not in SMALL])


def bench_small(report, limit):
    return bench(report, limit, SMALL)


def bench_compiled(report, limit):
    """With torch.compile, which compiles for minutes."""
    return bench(report, limit, ["vgg16-bn", "resnet18"], kinds=("step",), repeats=3, arms="all")


def train(report, limit, experiment, seed, *settings):
    """Trains an experiment, and returns its records with digests of the weights."""
    out = report.out / "runs" / f"{experiment}-{seed}-{time.monotonic_ns()}"
    sets = [part for setting in settings for part in ("--set", setting)]
    command = report.xtask("run", experiment, "--device", "cuda", "--seeds", str(seed), "--out", out, *sets)
    # With other settings than the experiment's own its claims need not hold: 1.
    report.run(command, limit, good=(0, 1))
    found = []
    for summary in sorted(out.glob("*/*/summary.json")):
        weights = summary.with_name("model.safetensors")
        profile = summary.with_name("profile.json")
        found.append({
            "run": summary.parent.name,
            "summary": json.loads(summary.read_text()).get("metrics"),
            "weights": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "profile": json.loads(profile.read_text()) if profile.is_file() else None,
        })
    return found


def epochs(report, limit):
    found, end = {}, time.monotonic() + limit
    for experiment in ["cifar10-cnn", "cifar10-vgg16"]:
        start = time.monotonic()
        first, again = (train(report, end - time.monotonic(), experiment, 0, "train.epochs=1") for _ in range(2))
        same = [a["weights"] == b["weights"] for a, b in zip(first, again)]
        found[experiment] = {"runs": first, "again": again, "same_bits": same, "seconds": time.monotonic() - start}
    others = [name for name, runs in found.items() if not runs["same_bits"] or not all(runs["same_bits"])]
    if others:
        raise Stage(f"two runs of {', '.join(others)} have other bits", found)
    return found


def memory(report, limit):
    """Memory that the device has in use, each second of 2,000 steps."""
    used, stop = [], threading.Event()

    def watch():
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while not stop.wait(1):
            found = subprocess.run(query, capture_output=True, text=True)
            used.append(int(found.stdout.split()[0]) if found.returncode == 0 else None)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        train(report, limit, "cifar10-vgg16", 0, "train.epochs=6", "train.max_steps=2000")
    finally:
        stop.set()
        watcher.join()
    known = [mb for mb in used if mb is not None]
    settled, last = known[len(known) // 3:][:1], known[-5:-1]
    if settled and last and max(last) > settled[0] + 64:
        raise Stage(f"memory grew from {settled[0]} to {max(last)} MiB", {"mib": used})
    return {"mib": used}


def plans(report, limit):
    """The engines that cuDNN chose for the networks' convolutions."""
    found, end = {}, time.monotonic() + limit
    for name in NETWORKS:
        command = report.xtask("bench", "--filter", name, "--device", "cuda", "--repeats", "1", "--seconds", "0.01")
        text = report.run(command, end - time.monotonic(), RUST_LOG="tallow_cuda=debug")
        found[name] = sorted(set(re.findall(r"(?:Forward|InputGradient|WeightGradient) Convolution .*", text)))
    return found


def sanitizer(report, limit):
    tool = shutil.which("compute-sanitizer", path=report.env.get("PATH"))
    if tool is None:
        return {"skipped": "there is no compute-sanitizer"}
    found, end = {}, time.monotonic() + limit
    for check in ["memcheck", "racecheck"]:
        command = [tool, "--tool", check, "--error-exitcode", "9", report.programs / "tallow-ops", "device", "--test-threads", "1"]
        text = report.run(command, end - time.monotonic())
        found[check] = re.findall(r"^=+ (?:ERROR|RACECHECK) SUMMARY.*$", text, re.M)
    return found


def profile(report, limit):
    tool = shutil.which("nsys", path=report.env.get("PATH"))
    if tool is None:
        return {"skipped": "there is no nsys"}
    to = report.out / "resnet18"
    command = [tool, "profile", "--force-overwrite", "true", "--trace", "cuda", "--output", to]
    bench = report.xtask("bench", "--filter", "resnet18", "--device", "cuda", "--repeats", "1", "--seconds", "0.2")
    report.run([*command, *bench], limit)
    file = to.with_suffix(".nsys-rep")
    return {"kernels": report.run([tool, "stats", "--report", "cuda_gpu_kern_sum", "--format", "csv", file], 120).splitlines()[:60]}


def accuracy(report, limit):
    found, end = [], time.monotonic() + limit
    for seed in range(5):
        found += train(report, end - time.monotonic(), "cifar10-vgg16", seed)
    return {"runs": found}


# Name, function, seconds: the most telling first.
STAGES = [
    ("versions", versions, 60),
    ("tests", tests, 100),
    ("step-large", bench_large, 110),
    ("step-small", bench_small, 80),
    ("epochs", epochs, 240),
    ("plans", plans, 120),
    ("memory", memory, 240),
    ("sanitizer", sanitizer, 300),
    ("profile", profile, 120),
    ("step-compiled", bench_compiled, 900),
    ("accuracy", accuracy, 1800),
]


class Stage(Exception):
    """A stage that failed and has results all the same."""

    def __init__(self, message, results):
        super().__init__(message)
        self.results = results


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog="Example: python3 report.py --out results --stage tests")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for report.json, report.log and what the stages leave")
    names = [name for name, _, _ in STAGES]
    parser.add_argument("--stage", default=",".join(names), help="stages to run, with commas between them; all by default")
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

    report = Report(arguments.out)
    report.unpack()
    failed = False
    for name, function, limit in STAGES:
        if name not in wanted:
            continue
        report.say(f"==> {name}, at most {limit} s")
        start, entry = time.monotonic(), {"limit": limit}
        try:
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
    report.say(f"results: {report.out / 'report.json'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
