"""Accuracy of torchvision's ResNet-18 after some minutes of training from random weights: what `tallow train` is compared with.

    python xtask/pytorch/resnet18_minutes.py DATA cifar10 --minutes 5 [--size 64] [--lr 0.1] [--seeds 0,1,2] [--arm fp32]

DATA has the folders `mnist` and `fashion-mnist` (IDX) and `cifar10` (Parquet). Training is what a script of torchvision has: random crops
with four pixels of padding, reflections but for digits, SGD with Nesterov momentum and weight decay, a warm-up and a cosine that end with
the time. Images lie in memory as tensors before the clock starts, and the evaluation after it does not count, so that no loader and no
evaluation is slower than it could be. `--size` scales the pictures for the 7x7 stem, which leaves one pixel of 32.
A line of JSON for each seed. Needs torch, torchvision and NumPy, for CIFAR-10 also pyarrow and Pillow.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from accuracies import digest, read_idx, read_parquet
from torchvision import models

READ = {"mnist": read_idx, "fashion-mnist": read_idx, "cifar10": read_parquet}
PADDING = 4


def crops(images, reflect):
    """Windows of the padded images of uint8, moved at random, every second one reflected."""
    count, channels, height, width = images.shape
    padded = F.pad(images, [PADDING] * 4)
    rows = torch.arange(height) + torch.randint(2 * PADDING + 1, (count, 1))
    columns = torch.arange(width).expand(count, width)
    if reflect:
        columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(1), columns)
    columns = columns + torch.randint(2 * PADDING + 1, (count, 1))
    index = torch.arange(count)[:, None, None, None], torch.arange(channels)[:, None, None]
    return padded[index[0], index[1], rows[:, None, :, None], columns[:, None, None, :]]


class Preparation:
    """Floats of three channels, normalised by the training images, in the size of the network."""

    def __init__(self, images, size):
        values = images.float().div(255)
        self.mean = values.mean((0, 2, 3), keepdim=True)
        self.std = values.std((0, 2, 3), keepdim=True)
        self.size = size

    def __call__(self, images):
        images = ((images.float() / 255 - self.mean) / self.std).expand(-1, 3, -1, -1)
        if self.size is not None:
            images = F.interpolate(images, size=self.size, mode="bilinear", antialias=True)
        return images.contiguous(memory_format=torch.channels_last)


def rate(share):
    """Linear to 1 in the first 15 % of the time, then a cosine to 0."""
    return share / 0.15 if share < 0.15 else (1 + math.cos(math.pi * (share - 0.15) / 0.85)) / 2


def train(args, seed, splits):
    (images, labels, _), (test_images, test_labels, _) = splits
    torch.manual_seed(seed)
    prepare = Preparation(images, args.size)
    model = models.resnet18(num_classes=int(labels.max()) + 1).to(memory_format=torch.channels_last)
    forward = torch.compile(model) if args.arm.endswith("compile") else model
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=args.arm.startswith("bf16"))
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
    seconds = 60 * args.minutes
    started, done = time.perf_counter(), 0
    model.train()
    while time.perf_counter() - started < seconds:
        for index in torch.randperm(len(images)).split(args.batch_size):
            share = (time.perf_counter() - started) / seconds
            if share >= 1:
                break
            if len(index) < args.batch_size:
                continue
            for group in optimizer.param_groups:
                group["lr"] = args.lr * rate(share)
            x = prepare(crops(images[index], reflect=args.dataset != "mnist"))
            with autocast:
                logits = forward(x)
            loss = F.cross_entropy(logits.float(), labels[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            done += 1
    trained = time.perf_counter() - started
    model.eval()
    with torch.inference_mode():
        right = sum(
            int((model(prepare(x)).argmax(1) == y).sum())
            for x, y in zip(test_images.split(500), test_labels.split(500))
        )
    return {
        "seed": seed,
        "test_accuracy": right / len(test_images),
        "train_seconds": trained,
        "epochs": done * args.batch_size / len(images),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA", type=Path)
    parser.add_argument("dataset", choices=READ)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--size", type=int, help="side to which pictures are scaled; default: as they are")
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--arm", default="fp32", choices=["fp32", "fp32-compile", "bf16", "bf16-compile"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    splits = [READ[args.dataset](args.data / args.dataset, split) for split in ("train", "test")]
    settings = {key: getattr(args, key) for key in ("dataset", "minutes", "size", "lr", "batch_size", "threads", "arm")}
    settings |= {"torch": torch.__version__, "digest": digest(*splits[0][:2])}
    for seed in map(int, args.seeds.split(",")):
        print(json.dumps(settings | train(args, seed, splits)), flush=True)


if __name__ == "__main__":
    main()
