"""Arms of the PyTorch side of `cargo xtask bench`: the ways to run a case, of which the fastest counts."""

import contextlib
import dataclasses
import gc
import signal
import time
from typing import Any, Callable

import torch

FORMATS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
PRECISIONS = ["fp32", "bf16"]
FROZEN = "compile, freezing"


@dataclasses.dataclass
class Place:
    device: torch.device
    threads: int
    # Whether torch.compile is tried.
    compiled: bool

    def thread_counts(self):
        """One thread can be faster than all on a small network."""
        return sorted({1, self.threads}, reverse=True) if self.device.type == "cpu" else [self.threads]


@dataclasses.dataclass
class Arm:
    """A way to run a case. What it needs is made when it first runs, which is never timed, and can be dropped and made again."""

    # Makes the function that is timed.
    make: Callable[[], Callable[[], Any]]
    threads: int
    precision: str = "fp32"
    compiled: bool = False
    made: Callable[[], Any] | None = None

    def run(self):
        if self.made is None:
            self.made = self.make()
        return self.made()

    def drop(self):
        self.made = None
        gc.collect()


def named(*words, threads):
    """`eager fp32 channels_last, 2 threads`"""
    count = "1 thread" if threads == 1 else f"{threads} threads"
    return f"{' '.join(word for word in words if word)}, {count}"


def compiled(net, mode):
    """The network's forward pass. A graph that is not whole, or that is compiled too often, is an error and not a slow run."""
    if mode == "eager":
        return net
    options = {"freezing": True} if mode == FROZEN else None
    return torch.compile(net, fullgraph=True, dynamic=False, options=options)


def frozen(run):
    """The function, compiled in a first call with the weights as constants.

    The option of `torch.compile` reaches Inductor alone. Dynamo reads the global setting when it traces the network, and without it
    passes the weights as inputs, so that nothing would be folded.
    """
    with torch._inductor.config.patch(freezing=True):
        run()
    return run


def in_precision(forward, precision, device):
    """The forward pass, under autocast for bf16."""
    if precision != "bf16":
        return forward

    def run(x):
        with torch.autocast(device.type, torch.bfloat16):
            return forward(x).float()

    return run


def set_up_compiler():
    import torch._dynamo
    import torch._inductor.config

    # All arms of a network share the code that they compile.
    torch._dynamo.config.recompile_limit = 64
    # Here, not in processes that would go on when an arm takes too long, and disturb the others.
    torch._inductor.config.compile_threads = 1


class TooLong(BaseException):
    """No `Exception`, so that no library takes it for an error of its own and goes on."""


@contextlib.contextmanager
def time_limit(seconds):
    if seconds is None or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_):
        raise TooLong(f"took longer than {seconds:g} s")

    signal.signal(signal.SIGALRM, stop)
    # Again every second, since an exception in a destructor is lost.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def timed(arm, steps, parts, device, limit):
    """Seconds of each run, divided by the number of equal parts that it has."""
    torch.set_num_threads(arm.threads)
    seconds, result = [], None
    with time_limit(limit):
        for _ in range(steps):
            result = None
            start = time.perf_counter()
            result = arm.run()
            if device.type != "cpu":
                getattr(torch, device.type).synchronize()
            seconds.append((time.perf_counter() - start) / parts)
    if isinstance(result, torch.Tensor) and not torch.isfinite(result).all():
        raise RuntimeError("a loss or an output is not finite")
    return seconds
