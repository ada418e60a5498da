#!/usr/bin/env python3
"""Tests and times Tallow on this machine's NVIDIA GPU, from a folder that `cargo xtask cuda-build` packed.

    python3 report.py --out results
    python3 report.py --out results --minutes 20 --stage versions,tests,accuracy
    python3 report.py --list

It needs an NVIDIA driver of CUDA 13 or newer, and Python with PyTorch, whose packages hold the libraries of CUDA and cuDNN. All stages but
`sanitizer` and `accuracy` fit into ten minutes. Every stage has a time limit, and none stops the others. `report.json` has the results and is written anew
after each stage, `report.log` all that was printed; `--copy` puts both into a second folder after each stage, for a machine that is taken away.
A process on which the device has failed once fails at all that follows, so that what failed is done once more in a process of its own.
Exits with 1 if a stage failed, and with 2 if it was called wrongly.
"""

import argparse
import sys
import time
from pathlib import Path

from checks import sanitizer, tests, versions
from frame import HERE, Failure, Report, Stage, now
from times import ours, pytorch
from training import accuracy, bits, graphs, memory

# Name, function, seconds: the most telling first.
STAGES = [
    ("versions", versions, 40),
    ("tests", tests, 110),
    # Times of no kind, so that PyTorch may compile beside it.
    ("bits", bits, 45),
    ("ours", ours, 150),
    ("pytorch", pytorch, 80),
    ("graphs", graphs, 70),
    ("memory", memory, 60),
    ("sanitizer", sanitizer, 240),
    ("accuracy", accuracy, 3600),
]
# Stages that run only when they are named.
EXTRA = ["accuracy"]
# Stages during which PyTorch's processes are there.
WITH_PEERS = ["versions", "tests", "bits", "ours", "pytorch"]


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
    report.wanted = wanted
    report.unpack()
    failed = False
    try:
        for name, function, limit in STAGES:
            if name not in wanted:
                continue
            if name not in WITH_PEERS:
                report.end_peers()
            limit = min(limit, report.left() - 5)
            start, entry = time.monotonic(), {"started": now(), "limit": round(limit)}
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
        report.end_peers()
    report.say(f"results: {report.out / 'report.json'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
