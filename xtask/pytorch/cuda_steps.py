"""Training steps of PyTorch on a CUDA device, in f32, TF32 and bf16, eager and compiled, for cuda/report.py.

    python3 cuda_steps.py resnet18 --compile-until 200

Reads a JSON request a line from standard input and writes a JSON reply a line to standard output:

    {"do": "prepare"}              -> {"arms": [name, ...], "failed": {name: reason}}; no arm is begun after so many seconds
    {"do": "time", "seconds": s}   -> {"times": [{"arm", "precision", "compiled", "step_ms", "quartiles", "queued_ms"}, ...], "failed": {...}}

So several networks can be compiled at a time, and then timed one after another. cuDNN tries its engines, and optimizers are fused.
"""

import argparse
import json
import os
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from bench_networks import NETWORKS, VGG16, optimizer

SGD = {"name": "sgd", "lr": 0.01, "momentum": 0.9}
ADAM = {"name": "adam", "lr": 1e-3}
# Shape of an image, batch, optimizer: those of `cargo xtask bench`.
CASES = {
    "fc": ((1, 28, 28), 64, SGD),
    "cnn": ((1, 28, 28), 64, SGD),
    "cifar-cnn": ((3, 32, 32), 64, ADAM),
    "lenet": ((3, 32, 32), 64, ADAM),
    "vgg16-slim": ((3, 32, 32), 128, ADAM),
    "vgg16": ((3, 32, 32), 128, ADAM),
    "vgg16-bn": ((3, 32, 32), 128, ADAM),
    "resnet18": ((3, 32, 32), 128, SGD),
    "resnet20": ((3, 32, 32), 128, SGD),
}
SMALL = ["fc", "cnn", "cifar-cnn", "lenet"]
FORMATS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
# Steps before those that are timed.
FIRST = 8


def vgg16():
    layers, maps = [], 3
    for width in VGG16:
        if width == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(maps, width, 3, padding=1), nn.ReLU(True)]
            maps = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))


class Block(nn.Module):
    """torchvision's BasicBlock."""

    def __init__(self, inputs, maps, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, maps, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(maps)
        self.conv2 = nn.Conv2d(maps, maps, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(maps)
        self.downsample = None
        if stride != 1 or inputs != maps:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, maps, 1, stride, bias=False), nn.BatchNorm2d(maps))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


def resnet18():
    """As torchvision's, which need not be installed."""
    layers, inputs = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(True)], 64
    for maps, stride in [(64, 1), (128, 2), (256, 2), (512, 2)]:
        layers += [Block(inputs, maps, stride), Block(maps, maps, 1)]
        inputs = maps
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def network(name):
    return {"vgg16": vgg16, "resnet18": resnet18}.get(name, NETWORKS[name] if name in NETWORKS else None)()


def allow(precision):
    tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32


class Arm:
    def __init__(self, case, mode, precision, layout):
        self.case, self.mode, self.precision, self.layout = case, mode, precision, layout
        self.name = f"{mode} {precision} {layout}"
        self.run = None

    def make(self):
        shape, batch, settings = CASES[self.case]
        torch.manual_seed(0)
        form = FORMATS[self.layout]
        net = network(self.case).to("cuda", memory_format=form).train()
        # Before it is compiled, which is another module with the same parameters.
        optim = optimizer(net.parameters(), settings, fused=True)
        forward = net
        if self.mode != "eager":
            mode = None if self.mode == "compile" else self.mode
            forward = torch.compile(net, fullgraph=True, dynamic=False, mode=mode)
        x = torch.randn(batch, *shape).to("cuda", memory_format=form)
        y = torch.randint(0, 10, (batch,)).to("cuda")

        def logits():
            if self.precision != "bf16":
                return forward(x)
            with torch.autocast("cuda", torch.bfloat16):
                return forward(x).float()

        def run():
            if self.mode == "reduce-overhead":
                torch.compiler.cudagraph_mark_step_begin()
            optim.zero_grad()
            loss = F.cross_entropy(logits(), y)
            loss.backward()
            optim.step()
            return loss

        self.run = run
        allow(self.precision)
        for _ in range(FIRST):
            run()
        torch.cuda.synchronize()

    def timed(self):
        start = time.perf_counter()
        loss = self.run()
        torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - start), loss

    def time(self, seconds):
        allow(self.precision)
        for _ in range(FIRST):
            self.timed()
        all, start = [], time.perf_counter()
        while len(all) < 10 or time.perf_counter() - start < seconds:
            ms, loss = self.timed()
            all.append(ms)
        if not torch.isfinite(loss).item():
            raise RuntimeError("the loss is not finite")
        count, start = min(len(all), 50), time.perf_counter()
        for _ in range(count):
            self.run()
        torch.cuda.synchronize()
        queued = 1e3 * (time.perf_counter() - start) / count
        all.sort()
        at = lambda share: all[int((len(all) - 1) * share)]
        return {
            "arm": self.name, "precision": self.precision, "compiled": self.mode != "eager", "step_ms": at(0.5),
            "quartiles": [at(0.25), at(0.75)], "queued_ms": queued,
        }


def arms(case):
    """Eager arms first; compiled ones of the usual way before the others."""
    small = case in SMALL
    # PyTorch rounds little in networks that are bound by their launches.
    precisions = ["f32"] if small else ["f32", "tf32", "bf16"]
    layouts = ["nchw"] if case == "fc" else list(FORMATS)
    found = [Arm(case, "eager", p, layout) for p in precisions for layout in layouts]
    modes = ["reduce-overhead", "compile"] if small or case == "resnet20" else ["compile"]
    compiled = ["nchw"] if small else ["channels_last"]
    found += [Arm(case, mode, p, layout) for mode in modes for p in reversed(precisions) for layout in compiled]
    if not small:
        found.append(Arm(case, "compile", "f32", "nchw"))
    return found


def reason(error):
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 300 else text[:300] + " ..."


def main():
    parser = argparse.ArgumentParser(description="Training steps of PyTorch on a CUDA device.")
    parser.add_argument("network", choices=CASES)
    parser.add_argument("--compile-until", type=float, default=200.0, help="seconds after which no arm is begun")
    arguments = parser.parse_args()
    begun = time.monotonic()
    torch.backends.cudnn.benchmark = True
    import torch._dynamo
    import torch._inductor.config

    torch._dynamo.config.recompile_limit = 64
    # Networks are compiled beside each other, in processes of their own.
    torch._inductor.config.compile_threads = 2
    # Whatever a library prints must not get between the replies.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(reply):
        print(json.dumps(reply), file=replies, flush=True)

    ready, failed = [], {}
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "prepare":
            for arm in arms(arguments.network):
                if time.monotonic() - begun > arguments.compile_until:
                    failed[arm.name] = "no time left to make it"
                    continue
                try:
                    arm.make()
                    ready.append(arm)
                except Exception as error:
                    failed[arm.name] = reason(error)
            say({"arms": [arm.name for arm in ready], "failed": failed})
            continue
        times = []
        for arm in ready:
            try:
                times.append(arm.time(request["seconds"]))
            except Exception as error:
                failed[arm.name] = reason(error)
        say({"times": times, "failed": failed})


if __name__ == "__main__":
    main()
