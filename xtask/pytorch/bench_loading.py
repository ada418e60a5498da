"""Loading of data, and a whole epoch with it, on the PyTorch side of `cargo xtask bench`."""

import gzip
import itertools
import math
import os

import torch
import torch.nn.functional as F
from bench_arms import FORMATS, PRECISIONS, Arm, compiled, in_precision, named
from bench_networks import Cnn, optimizer
from PIL import Image
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision import transforms
from torchvision.transforms import v2

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
MNIST_MEAN, MNIST_STD = 0.1307, 0.3081
WORKERS = [0, 1, 2]


class Images(Dataset):
    """Images in memory, (N, C, H, W) of uint8: handed over as PIL images, as torchvision's own datasets do, or as tensors."""

    def __init__(self, pixels, labels, transform, pil):
        # (N, H, W, C), or (N, H, W) of grey ones, is what PIL takes.
        self.pixels = pixels.permute(0, 2, 3, 1).squeeze(3).contiguous() if pil else pixels
        self.labels, self.transform, self.pil = labels, transform, pil

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.pixels[index]
        if self.pil:
            image = Image.fromarray(image.numpy())
        return self.transform(image), int(self.labels[index])


def batches(images, batch, workers, shuffle):
    # The workers live on, so that starting them is part of the warm-up and not of what is timed.
    return DataLoader(images, batch, shuffle=shuffle, num_workers=workers, persistent_workers=workers > 0)


def with_workers(what, workers, place):
    """Name, and number of computing threads that leaves a core to each worker."""
    threads = max(1, place.threads - workers)
    return named(f"{what}, {workers} {'worker' if workers == 1 else 'workers'}", threads=threads), threads


def augmented(padded, batch):
    """Random crops of 32x32 and flips of padded images in random order, normalised, a whole batch at a time."""
    side, channels = torch.arange(32), torch.arange(3).view(3, 1, 1)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CIFAR_MEAN, CIFAR_STD))
    for index in torch.randperm(len(padded)).split(batch):
        n = len(index)
        top, left = torch.randint(0, 9, (2, n, 1))
        rows, columns = top + side, left + side
        columns = torch.where(torch.rand(n, 1) < 0.5, columns.flip(1), columns)
        crops = padded[index.view(n, 1, 1, 1), channels, rows.view(n, 1, 32, 1), columns.view(n, 1, 1, 32)]
        yield (crops.float() / 255 - mean) / std


def loader(case, place):
    work, batch = case["work"], case["batch"]
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (work["images"], 3, 32, 32), dtype=torch.uint8)
    labels = torch.arange(work["images"]) % 10
    pil = transforms.Compose([
        transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(),
        transforms.ToTensor(), transforms.Normalize(CIFAR_MEAN, CIFAR_STD),
    ])
    tensor = v2.Compose([
        v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(),
        v2.ToDtype(torch.float32, scale=True), v2.Normalize(CIFAR_MEAN, CIFAR_STD),
    ])

    def drained(data):
        def run():
            for _ in data():
                pass

        return run

    def whole_batches():
        padded = F.pad(pixels, [4] * 4)
        return drained(lambda: augmented(padded, batch))

    def loaded(transform, workers):
        data = batches(Images(pixels, labels, transform, transform is pil), batch, workers, True)
        return drained(lambda: data)

    arms = {named("whole batches of tensors", threads=place.threads): Arm(whole_batches, place.threads)}
    for (what, transform), workers in itertools.product([("tensors", tensor), ("PIL images", pil)], WORKERS):
        name, threads = with_workers(what, workers, place)
        arms[name] = Arm(lambda t=transform, w=workers: loaded(t, w), threads)
    return arms, None, math.ceil(work["images"] / batch)


def idx(folder, name):
    """An IDX file, gzipped or not, as a uint8 tensor."""
    path = os.path.join(folder, name)
    opened = gzip.open(path + ".gz", "rb") if os.path.exists(path + ".gz") else open(path, "rb")
    with opened as file:
        data = bytearray(file.read())
    axes = data[3]
    sizes = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes)]
    return torch.frombuffer(data, dtype=torch.uint8, offset=4 + 4 * axes).reshape(sizes)


def shuffled(images, labels, batch):
    for index in torch.randperm(len(images)).split(batch):
        yield images[index], labels[index]


def epoch(case, place):
    """Training and evaluation of `Cnn` on MNIST: by a plain loop over tensors that were normalised before, and by loaders."""
    work, batch = case["work"], case["batch"]
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MNIST_MEAN,), (MNIST_STD,))])
    pixels, labels, normalised = {}, {}, {}
    for split, name in [("train", "train"), ("test", "t10k")]:
        pixels[split] = idx(work["data"], f"{name}-images-idx3-ubyte").unsqueeze(1)
        labels[split] = idx(work["data"], f"{name}-labels-idx1-ubyte").long()
        normalised[split] = (pixels[split].float() / 255 - MNIST_MEAN) / MNIST_STD

    def training(mode, precision, layout, train, test):
        net = Cnn().to(memory_format=FORMATS[layout])
        # The same network is trained again in each run, since another would be compiled again.
        start = {name: value.clone() for name, value in net.state_dict().items()}
        forward = in_precision(compiled(net, mode), precision, place.device)

        def run():
            torch.manual_seed(0)
            net.load_state_dict(start)
            optim = optimizer(net.parameters(), work["optimizer"], fused=True)
            net.train()
            for x, y in train():
                optim.zero_grad()
                loss = F.cross_entropy(forward(x), y)
                loss.backward()
                optim.step()
            net.eval()
            loss, right = 0.0, 0
            with torch.no_grad():
                for x, y in test():
                    output = forward(x)
                    loss += F.cross_entropy(output, y, reduction="sum").item()
                    right += (output.argmax(1) == y).sum().item()
            if right < 0.8 * len(labels["test"]):
                raise RuntimeError(f"this network did not learn: {right} of {len(labels['test'])} right")

        return run

    def plain(mode, precision, layout):
        train, test = (normalised[split].to(memory_format=FORMATS[layout]) for split in ("train", "test"))
        evaluated = list(zip(test.split(1000), labels["test"].split(1000)))
        return training(mode, precision, layout, lambda: shuffled(train, labels["train"], batch), lambda: evaluated)

    def loaded(pil, workers):
        def split(name):
            images = Images(pixels[name], labels[name], transform, True) if pil else TensorDataset(normalised[name], labels[name])
            return batches(images, batch, workers, name == "train")

        train, test = split("train"), split("test")
        return training("eager", "fp32", "nchw", lambda: train, lambda: test)

    arms = {}
    modes = ["eager", "compile"] if place.compiled else ["eager"]
    for mode, precision, layout, threads in itertools.product(modes, PRECISIONS, FORMATS, place.thread_counts()):
        name = named("plain loop,", mode, precision, layout, threads=threads)
        settings = (mode, precision, layout)
        arms[name] = Arm(lambda settings=settings: plain(*settings), threads, precision, mode != "eager")
    for (what, pil), workers in itertools.product([("tensor dataset", False), ("PIL images", True)], WORKERS):
        name, threads = with_workers(what, workers, place)
        arms[name] = Arm(lambda p=pil, w=workers: loaded(p, w), threads)
    return arms, sum(p.numel() for p in Cnn().parameters()), 1
