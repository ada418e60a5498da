"""Training steps of PyTorch on a CUDA device, in f32, TF32 and bf16, eager and compiled, for cuda/report.py.

    python3 cuda_steps.py resnet18

Reads a JSON request a line from standard input and writes a JSON reply a line to standard output:

    {"do": "prepare", "begin_by": t, "end_by": t} -> {"arms": [name, ...], "failed": {name: reason}}
    {"do": "time", "seconds": s}                  -> {"times": [{"arm", "precision", "compiled", "step_ms", ...}, ...], "failed": {...}}
    {"do": "epoch", "precision": p}               -> {"epoch": {"seconds", "train_seconds", "step_ms"}} or {"error": reason}

No arm is begun after the time `begin_by`, and one that is not made by `end_by` is given up; both are seconds of the system's clock. So several
networks can be compiled at a time, and then timed one after another. cuDNN tries its engines, and optimizers are fused. `peak_mib` is the
memory that an eager arm allocates, its weights and its batch with it. An epoch has the images on the device, where they are cropped, mirrored
and normalised: no loader of PyTorch is faster.
"""

import argparse
import json
import os
import statistics
import sys
import time

import torch
import torch._dynamo
import torch._inductor.config
import torch.nn as nn
import torch.nn.functional as F
from bench_arms import FORMATS, TooLong, in_precision, time_limit
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
        self.run, self.net, self.logits, self.peak = None, None, None, None

    def make(self):
        shape, batch, settings = CASES[self.case]
        torch.manual_seed(0)
        form = FORMATS[self.layout]
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        net = network(self.case).to("cuda", memory_format=form).train()
        # Before it is compiled, which is another module with the same parameters.
        optim = optimizer(net.parameters(), settings, fused=True)
        forward = net
        if self.mode != "eager":
            mode = None if self.mode == "compile" else self.mode
            forward = torch.compile(net, fullgraph=True, dynamic=False, mode=mode)
        x = torch.randn(batch, *shape).to("cuda", memory_format=form)
        y = torch.randint(0, 10, (batch,)).to("cuda")

        logits = in_precision(forward, self.precision, x.device)

        def run():
            if self.mode == "reduce-overhead":
                torch.compiler.cudagraph_mark_step_begin()
            optim.zero_grad()
            loss = F.cross_entropy(logits(x), y)
            loss.backward()
            optim.step()
            return loss

        self.run, self.net, self.logits = run, net, lambda: logits(x)
        allow(self.precision)
        for _ in range(FIRST):
            run()
        torch.cuda.synchronize()
        if self.mode == "eager":
            self.peak = (torch.cuda.max_memory_allocated() - before) / 2**20

    def timed(self):
        start = time.perf_counter()
        loss = self.run()
        torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - start), loss

    def inference(self, seconds):
        """Median milliseconds of a forward pass in evaluation mode."""
        self.net.eval()
        times, start = [], time.perf_counter()
        with torch.inference_mode():
            while len(times) < 10 + FIRST or time.perf_counter() - start < seconds:
                begun = time.perf_counter()
                self.logits()
                torch.cuda.synchronize()
                times.append(1e3 * (time.perf_counter() - begun))
        self.net.train()
        return statistics.median(times[FIRST:])

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
        found = {
            "arm": self.name, "precision": self.precision, "compiled": self.mode != "eager", "step_ms": at(0.5),
            "quartiles": [at(0.25), at(0.75)], "queued_ms": queued,
        }
        if self.mode == "eager":
            # A compiled network would be compiled again for evaluation.
            found |= {"inference_ms": self.inference(seconds / 2), "peak_mib": self.peak}
        return found


def arms(case):
    """Eager arms first; compiled ones of the usual way before the others."""
    small = case in SMALL
    precisions = ["f32", "tf32", "bf16"]
    layouts = ["nchw"] if case == "fc" else list(FORMATS)
    found = [Arm(case, "eager", p, layout) for p in precisions for layout in layouts]
    compiled = "nchw" if small else "channels_last"
    # Networks that are bound by their launches, which CUDA graphs save.
    if small or case == "resnet20":
        found += [Arm(case, "reduce-overhead", p, compiled) for p in reversed(precisions)]
    if case == "vgg16-slim":
        found.append(Arm(case, "reduce-overhead", "bf16", compiled))
    found += [Arm(case, "compile", p, compiled) for p in (["f32"] if small else reversed(precisions))]
    if not small:
        found.append(Arm(case, "compile", "f32", "nchw"))
    return found


def epoch(case, precision, count=50_000, tests=10_000):
    """Seconds of a second epoch with evaluation, and those of its training, of an eager network with images in the device's memory."""
    shape, batch, settings = CASES[case]
    torch.manual_seed(0)
    form = torch.channels_last
    net = network(case).to("cuda", memory_format=form)
    optim = optimizer(net.parameters(), settings, fused=True)
    images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, device="cuda")
    labels = torch.randint(0, 10, (count,), device="cuda")
    height, width = shape[1:]
    rows, columns = torch.arange(height, device="cuda"), torch.arange(width, device="cuda")
    channels = torch.arange(shape[0], device="cuda")[None, :, None, None]
    allow(precision)

    def prepared(images):
        return images.to(memory_format=form).float().div_(255).sub_(0.5).div_(0.25)

    logits = in_precision(net, precision, labels.device)

    def augmented(index):
        """Windows of the padded images at random places, each second one mirrored: one gather for all."""
        x = F.pad(images[index], [4] * 4)
        top, left = torch.randint(0, 9, (2, len(index)), device="cuda")
        mirrored = torch.rand(len(index), device="cuda") < 0.5
        across = torch.where(mirrored[:, None], width - 1 - columns, columns) + left[:, None]
        down = rows + top[:, None]
        return x[torch.arange(len(index), device="cuda")[:, None, None, None], channels, down[:, None, :, None], across[:, None, None, :]]

    def train():
        net.train()
        for index in torch.randperm(count, device="cuda").split(batch):
            optim.zero_grad()
            F.cross_entropy(logits(prepared(augmented(index))), labels[index]).backward()
            optim.step()
        torch.cuda.synchronize()

    def evaluate():
        net.eval()
        right = torch.zeros((), device="cuda")
        with torch.inference_mode():
            for at in range(0, tests, 1000):
                right += (logits(prepared(images[at : at + 1000])).argmax(1) == labels[at : at + 1000]).sum()
        return right.item() / tests

    for _ in range(2):
        start = time.perf_counter()
        train()
        trained = time.perf_counter() - start
        evaluate()
        both = time.perf_counter() - start
    return {"seconds": both, "train_seconds": trained, "step_ms": 1e3 * trained / -(-count // batch), "precision": precision}


def reason(error):
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 300 else text[:300] + " ..."


def main():
    parser = argparse.ArgumentParser(description="Training steps of PyTorch on a CUDA device.")
    parser.add_argument("network", choices=CASES)
    arguments = parser.parse_args()
    torch.backends.cudnn.benchmark = True
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
                if time.time() > request["begin_by"]:
                    failed[arm.name] = "no time left to make it"
                    continue
                try:
                    with time_limit(max(0.01, request["end_by"] - time.time())):
                        arm.make()
                    ready.append(arm)
                except (Exception, TooLong) as error:
                    failed[arm.name] = reason(error)
            say({"arms": [arm.name for arm in ready], "failed": failed})
        elif request["do"] == "epoch":
            try:
                say({"epoch": epoch(arguments.network, request["precision"])})
            except Exception as error:
                say({"error": reason(error)})
        else:
            times = []
            for arm in ready:
                try:
                    times.append(arm.time(request["seconds"]))
                except Exception as error:
                    failed[arm.name] = reason(error)
            say({"times": times, "failed": failed})


if __name__ == "__main__":
    main()
