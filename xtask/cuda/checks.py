"""Stages of report.py that check: versions, tests of the device, compute-sanitizer."""

import concurrent.futures
import re
import shutil
import sys
import time

from frame import BEGIN_BY, NETWORKS, Failure, Stage, make_peers, parsed

# Crates, and which of their tests. Of those of NCCL some need one GPU alone.
TESTS = {"tallow-ops": ["device"], "tallow-models": ["device"], "tallow-train": ["device", "nccl"]}


def versions(report, limit):
    found, problems = {"python": sys.version.split()[0]}, []
    # PyTorch compiles while the stages behind this one run.
    if "pytorch" in report.wanted:
        problems = make_peers(report, NETWORKS, BEGIN_BY)
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
        # One thread: tests would wait for each other on the device.
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


def sanitizer(report, limit):
    tool = shutil.which("compute-sanitizer", path=report.env.get("PATH"))
    if tool is None:
        return {"skipped": "there is no compute-sanitizer"}
    found, problems, end = {}, [], time.monotonic() + limit
    # Memory in all tests; races in the kernels with shared memory, whose tests run little else.
    checks = [
        # Libraries ask the driver for what it may refuse, which is no fault.
        ("memcheck", ["--report-api-errors", "no"], ["device"], 0.6 * limit),
        ("racecheck", [], ["device::batch_norm", "device::losses", "device::linear_and_elementwise"], limit),
    ]
    for check, options, names, most in checks:
        command = [tool, "--tool", check, "--error-exitcode", "9", *options]
        command += [report.programs / "tallow-ops", *names, "--test-threads", "1"]
        try:
            text = report.run(command, min(most, end - time.monotonic()), live=True)
        except Failure as failure:
            text = failure.text
            problems.append(f"{check}: {failure}")
        found[check] = {"summary": re.findall(r"^=+ (?:ERROR|RACECHECK) SUMMARY.*$", text, re.M), "end": text[-2000:]}
    if problems:
        raise Stage("; ".join(problems), found)
    return found
