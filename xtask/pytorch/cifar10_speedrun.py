"""The recipe `cifar10-speedrun` in PyTorch: accuracy and time of each seed, as lines of JSON.

    python xtask/pytorch/cifar10_speedrun.py FOLDER_WITH_PARQUET --seeds 0,1,2 --arm fp32-compile [--epochs 10] [--width-divisor 1]
    python xtask/pytorch/cifar10_speedrun.py FOLDER_WITH_PARQUET --steps 20 --arm all

The network, the initialisation, the optimizer and the evaluation are those of airbench94 (Jordan 2024, arXiv 2404.00498) as
`crates/tallow-experiment/experiments/cifar10-speedrun.toml` has them. Images are decoded before the clock starts, batches are cut
from tensors in memory, as airbench does; no loader of PyTorch is faster. `--steps` times steps of each arm instead of training: the
median, after three that do not count. Needs torch, pyarrow, Pillow and NumPy.
"""

import argparse
import io
import json
import platform
import statistics
import time

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

ARMS = {
    "fp32": (False, False),
    "fp32-compile": (False, True),
    "bf16": (True, False),
    "bf16-compile": (True, True),
}

MEAN = torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1)
STD = torch.tensor([0.2470, 0.2435, 0.2616]).view(1, 3, 1, 1)


def load(root, split):
    table = pq.read_table(f"{root}/{split}.parquet")
    images = [np.asarray(Image.open(io.BytesIO(b["bytes"])).convert("RGB")) for b in table.column(0).to_pylist()]
    images = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    return (images - MEAN) / STD, torch.tensor(table.column(1).to_pylist())


class Scale(nn.Module):
    def forward(self, x):
        return x / 9


class Conv(nn.Conv2d):
    """3x3 convolution that begins as the identity of its first channels."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, 3, padding="same", bias=False)
        nn.init.dirac_(self.weight.data[:inputs])


def norm(width):
    layer = nn.BatchNorm2d(width, eps=1e-12, momentum=0.4)
    layer.weight.requires_grad = False
    return layer


def network(divisor):
    widths = [24] + [w // divisor for w in (64, 256, 256)]
    whiten = nn.Conv2d(3, 24, 2, bias=True)
    whiten.weight.requires_grad = False
    layers = [whiten, nn.GELU()]
    for inputs, width in zip(widths, widths[1:]):
        layers += [Conv(inputs, width), nn.MaxPool2d(2), norm(width), nn.GELU(), Conv(width, width), norm(width), nn.GELU()]
    return nn.Sequential(*layers, nn.MaxPool2d(3), nn.Flatten(), nn.Linear(widths[-1], 10, bias=False), Scale())


def whiten(layer, images, eps=5e-4):
    patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12).double()
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (vectors / (values + eps).sqrt()).T.flip(0).reshape(-1, 3, 2, 2).float()
    layer.weight.data = torch.cat([filters, -filters])


def crop(images, shift=2):
    """Windows of the reflected images, moved by up to `shift` pixels in both directions."""
    n, _, h, w = images.shape
    padded = F.pad(images, [shift] * 4, "reflect")
    moves = torch.randint(0, 2 * shift + 1, (n, 2))
    out = torch.empty_like(images)
    for dy in range(2 * shift + 1):
        for dx in range(2 * shift + 1):
            chosen = (moves[:, 0] == dy) & (moves[:, 1] == dx)
            out[chosen] = padded[chosen, :, dy : dy + h, dx : dx + w]
    return out


class Lookahead:
    def __init__(self, model):
        self.slow = [p.detach().clone() for p in model.parameters()]

    @torch.no_grad()
    def update(self, model, share):
        for slow, p in zip(self.slow, model.parameters()):
            slow.lerp_(p, share)
            p.copy_(slow)


@torch.no_grad()
def evaluate(forward, images, labels, bf16):
    """Accuracy with six views: the image and its reflection, each as it is and moved by a pixel both ways."""
    right = 0
    for i in range(0, len(images), 1000):
        x = images[i : i + 1000]
        padded = F.pad(x, [1] * 4, "reflect")
        views = [x, padded[:, :, 0:32, 0:32], padded[:, :, 2:34, 2:34]]
        logits = 0
        for view, share in zip(views, (0.5, 0.25, 0.25)):
            for v in (view, view.flip(3)):
                v = v.contiguous(memory_format=torch.channels_last)
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    logits = logits + share / 2 * forward(v).float()
        right += (logits.argmax(1) == labels[i : i + 1000]).sum().item()
    return right / len(images)


class Training:
    """One training: its state, and one step of it."""

    def __init__(self, options, arm, images, seed, steps):
        torch.manual_seed(seed)
        self.bf16, compiled = ARMS[arm]
        self.model = network(options.width_divisor).to(memory_format=torch.channels_last)
        whiten(self.model[0], images[:5000])
        self.forward = torch.compile(self.model) if compiled else self.model
        biases = [m.bias for m in self.model if isinstance(m, nn.BatchNorm2d)]
        others = [p for p in self.model.parameters() if p.requires_grad and all(p is not b for b in biases)]
        lr = 1.5
        groups = [
            {"params": others, "lr": lr, "weight_decay": 0.00133},
            {"params": biases, "lr": 64 * lr, "weight_decay": 0.00133 / 64},
        ]
        self.optimizer = torch.optim.SGD(groups, momentum=0.85, nesterov=True, fused=True)
        self.rates = [g["lr"] for g in self.optimizer.param_groups]
        self.lookahead = Lookahead(self.model)
        self.steps, self.done = steps, 0

    def rate(self):
        """0.2 -> 1 at 23 % of the steps -> 0.07."""
        peak = int(0.23 * self.steps)
        return float(np.interp(self.done, [0, peak, self.steps], [0.2, 1, 0.07]))

    def step(self, x, y):
        for group, rate in zip(self.optimizer.param_groups, self.rates):
            group["lr"] = rate * self.rate()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            logits = self.forward(x.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), y, label_smoothing=0.2)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.done += 1
        if self.done % 5 == 0:
            progress = self.done / self.steps
            self.lookahead.update(self.model, 1 - 0.95**5 * progress**3)
        return loss.item()


def train(options, arm, data, seed):
    images, labels = data["train"]
    batch = options.batch_size
    steps = options.epochs * (len(images) // batch)
    started = time.perf_counter()
    training = Training(options, arm, images, seed, steps)
    mirrored = torch.rand(len(images)) < 0.5
    for epoch in range(options.epochs):
        training.model.train()
        # Every image is mirrored in every second epoch.
        now = mirrored ^ (epoch % 2 == 1)
        order = torch.randperm(len(images))
        for at in range(0, len(images) - batch + 1, batch):
            index = order[at : at + batch]
            x = crop(images[index])
            flip = now[index].view(-1, 1, 1, 1)
            training.step(torch.where(flip, x.flip(3), x), labels[index])
    training.lookahead.update(training.model, 1.0)
    trained = time.perf_counter() - started
    training.model.eval()
    accuracy = evaluate(training.forward, *data["test"], training.bf16)
    return {"seed": seed, "test_accuracy": accuracy, "train_seconds": trained, "seconds": time.perf_counter() - started}


def time_steps(options, arm, data):
    images, labels = data["train"]
    training = Training(options, arm, images, 0, 1000)
    training.model.train()
    batch = options.batch_size
    times = []
    for i in range(3 + options.steps):
        at = i * batch % (len(images) - batch)
        started = time.perf_counter()
        training.step(crop(images[at : at + batch]), labels[at : at + batch])
        times.append(time.perf_counter() - started)
    return {"step_seconds": statistics.median(times[3:]), "steps": options.steps}


def processor():
    """Model of the processor, and the instruction set of PyTorch's own kernels."""
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0] if names else platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--arm", default="fp32", choices=[*ARMS, "all"])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--width-divisor", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = {split: load(options.root, split) for split in (["train"] if options.steps else ["train", "test"])}
    for arm in ARMS if options.arm == "all" else [options.arm]:
        common = {"arm": arm, "torch": torch.__version__, "threads": options.threads, "processor": processor()}
        common |= {"epochs": options.epochs, "batch_size": options.batch_size, "width_divisor": options.width_divisor}
        if options.steps:
            print(json.dumps(common | time_steps(options, arm, data)), flush=True)
        else:
            for seed in map(int, options.seeds.split(",")):
                print(json.dumps(common | train(options, arm, data, seed)), flush=True)


if __name__ == "__main__":
    main()
