"""What the stages of report.py share: files of results, programs with their environment, and PyTorch's processes."""

import concurrent.futures
import glob
import json
import os
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
PRECISIONS = ["f32", "tf32", "bf16"]
# Training images of CIFAR-10.
IMAGES = 50_000
# Network of an experiment, whose epochs are timed on both sides.
EPOCH = ("vgg16-slim", "cifar10-vgg16")
# Seconds since the start until which PyTorch may begin to make another arm, and until which it has to be made.
BEGIN_BY, END_BY = 185, 215


def now():
    """The time, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Report:
    """The files of results, and the programs with their environment."""

    def __init__(self, out, minutes, copy=None):
        self.out, self.copy = out, copy
        self.out.mkdir(parents=True, exist_ok=True)
        self.log = open(self.out / "report.log", "a", encoding="utf-8")
        self.lock = threading.Lock()
        self.begun = time.monotonic()
        self.end = self.begun + 60 * minutes
        self.data = {"started": now(), "stages": {}}
        # Stages that were run apart keep their results, which later ones compare with.
        try:
            self.data["stages"] = json.loads((self.out / "report.json").read_text())["stages"]
        except (OSError, ValueError, KeyError):
            pass
        self.programs, self.unpacked = self.out / "programs", self.out / "unpacked"
        self.peers, self.wanted = {}, []
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
        archive, program = HERE / "programs.tar.xz", self.programs / "xtask"
        # A folder of results may be of an older archive.
        if not program.is_file() or not self.unpacked.is_file() or self.unpacked.stat().st_mtime < archive.stat().st_mtime:
            self.programs.mkdir(parents=True, exist_ok=True)
            with tarfile.open(archive) as programs:
                programs.extractall(self.programs, filter="data")
            # The program looks for the scripts of PyTorch's side beside itself.
            shutil.copytree(HERE / "pytorch", self.programs / "pytorch", dirs_exist_ok=True)
            self.unpacked.touch()

    def left(self):
        return self.end - time.monotonic()

    def end_peers(self):
        for peer in self.peers.values():
            peer.end()
        self.peers.clear()

    def run(self, command, limit, good=(0,), live=False, **env):
        """Runs a command for at most so many seconds. Its output, on both channels, is returned and logged, line by line where it is `live`;
        `good` are the exit codes of success."""
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
        lines = []
        try:
            for line in process.stdout:
                lines.append(line)
                if live:
                    self.write(line)
            code = process.wait()
        finally:
            timer.cancel()
        text = "".join(lines)
        # In one piece, since commands may run beside each other.
        self.write(f"\n$ {shown}\n{'(its output is above)' if live else text}\n")
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

    def __init__(self, report, name, begin_by, end_by):
        self.name, self.report = name, report
        self.errors = open(report.out / f"pytorch-{name}.log", "w", encoding="utf-8")
        command = [sys.executable, str(HERE / "pytorch" / "cuda_steps.py"), name]
        self.process = subprocess.Popen(
            command, env=report.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, start_new_session=True
        )
        self.replies = concurrent.futures.ThreadPoolExecutor(1)
        self.prepared = self.ask({"do": "prepare", "begin_by": begin_by, "end_by": end_by})

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
        self.replies.shutdown(wait=False)
        if not self.errors.closed:
            self.errors.close()
            log = Path(self.errors.name).read_text(encoding="utf-8", errors="replace")
            self.report.write(f"\n# PyTorch, {self.name}\n{log[-4000:]}")


def make_peers(report, names, seconds):
    """Starts PyTorch for these networks, which has so many seconds to begin the last arm. Returns what went wrong."""
    problems, begin_by = [], time.time() + seconds
    for name in names:
        try:
            report.peers[name] = Peer(report, name, begin_by, begin_by + END_BY - BEGIN_BY)
        except OSError as error:
            problems.append(f"pytorch {name}: {error}")
    return problems


def parsed(text, start):
    """JSON values among the lines of an output that begin so. A line that was cut off is left out."""
    for line in text.splitlines():
        if line.startswith(start):
            try:
                yield json.loads(line)
            except ValueError:
                pass


def results_of(report, stage):
    """Results of a stage that was run, or nothing."""
    return report.data["stages"].get(stage, {}).get("results") or {}
