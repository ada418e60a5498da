"""Test accuracies of our recipes in PyTorch, a run a seed, for docs/equivalence.md.

    python xtask/pytorch/accuracies.py DATA [--recipe NAME ...] [--seeds 0..128] [--out docs/results/pytorch] [--threads N] [--sample DIR]

DATA has the folders `mnist` (IDX) and `cifar10` (Parquet); `quickstart` needs its sample alone, which is in this repository. Recipes are
read from crates/tallow-experiment/experiments, each with its settings in the full tier, and a setting that this script does not know is
an error. Networks are those of the fixtures of `tallow-models`, as PyTorch initialises them, and a fixed permutation of pixels is that
of `permute-pixels`, since another one could make the task harder or easier. Images lie in memory as one tensor, and batches are cut from it.

OUT/RECIPE.json has the accuracies by variant and seed, and is written anew after each run: started again, the script goes on with the
seeds that are missing. It stops if the file was made with other settings, other data, another PyTorch or another number of threads.
Needs torch, torchvision and NumPy, for CIFAR-10 also pyarrow and Pillow, and Python 3.11.
"""

import argparse
import copy
import gzip
import hashlib
import io
import json
import os
import platform
import struct
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# One definition of the networks and of the permutation, which the tests compare with ours.
sys.path[:0] = [str(ROOT / "crates" / name / "tests/fixtures") for name in ("tallow-models", "tallow-transforms")]

import numpy as np
import torch
import torch.nn.functional as F
from networks import NETWORKS
from stream import permutation

EXPERIMENTS = ROOT / "crates/tallow-experiment/experiments"
SAMPLE = ROOT / "crates/tallow-datasets/data/fashion-mnist-sample"
SEEDS = {"mnist-pixel-order": 128, "quickstart": 128, "cifar10-cnn": 16, "cifar10-vgg16": 3}
TEST_BATCH = 1000


# ---- recipes ---------------------------------------------------------------------------------------------------------------------


def merge(base, changes):
    """Tables are merged, as `run` merges them; a table of another name replaces."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict) and value.get("name") in (None, base[key].get("name")):
            merge(base[key], value)
        else:
            base[key] = copy.deepcopy(value)
    return base


def recipe(name):
    """Settings of each variant: `data`, `model` and `train`."""
    with open(EXPERIMENTS / f"{name}.toml", "rb") as file:
        experiment = tomllib.load(file)
    parts = ("data", "model", "train")
    base = {part: experiment.get(part, {}) for part in parts}
    full = experiment["tiers"]["full"]
    known(full, "tiers.full", {"seconds", "seeds", "claims", *parts})
    variants = {}
    for variant in experiment["variants"]:
        settings = copy.deepcopy(base)
        for changes in (variant, full):
            merge(settings, {part: changes[part] for part in parts if part in changes})
        known(settings["data"], "data", {"dataset", "transforms"})
        known(settings["model"], "model", {"name"})
        known(settings["train"], "train", {"epochs", "batch_size", "optimizer", "schedule", "augment", "drop_last", "shuffle"})
        variants[variant["name"]] = settings
    return variants


def known(table, where, keys):
    if unknown := sorted(set(table) - keys):
        sys.exit(f"{where}.{unknown[0]}: this script does not know the setting")


# ---- data ------------------------------------------------------------------------------------------------------------------------


def idx(path):
    with gzip.open(path) as file:
        data = file.read()
    sizes = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(sizes).copy())


def read_idx(folder, split):
    prefix = {"train": "train", "test": "t10k"}[split]
    paths = [folder / f"{prefix}-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1")]
    images, labels = map(idx, paths)
    return images[:, None].contiguous(), labels.long(), paths


def read_parquet(folder, split):
    import pyarrow.parquet as pq
    from PIL import Image

    path = folder / f"{split}.parquet"
    table = pq.read_table(path)
    images = [np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB")) for cell in table.column(0).to_pylist()]
    images = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return images, torch.tensor(table.column(1).to_pylist()), [path]


def load(name, root, sample):
    """Images, labels and files of both splits."""
    if name != "fashion-mnist-sample" and root is None:
        sys.exit(f"{name}: the folder with the data is missing")
    read = {
        "mnist": lambda split: read_idx(root / "mnist", split),
        "fashion-mnist-sample": lambda split: read_idx(sample, split),
        "cifar10": lambda split: read_parquet(root / "cifar10", split),
    }
    if name not in read:
        sys.exit(f"{name}: this script does not know the dataset")
    return [read[name](split) for split in ("train", "test")]


def digest(images, labels):
    """Digest of a split as our run records have it: sizes, pixels, labels."""
    sha = hashlib.sha256(struct.pack("<4Q", *images.shape))
    sha.update(images.numpy().tobytes())
    sha.update(labels.numpy().astype("<u4").tobytes())
    return sha.hexdigest()


def described(name, splits):
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for split in splits for path in split[2]}
    (train, test) = (digest(images, labels) for images, labels, _ in splits)
    return {"dataset": name, "digest": train, "test_digest": test, "files": files}


def prepared(images, transforms):
    """Images of bytes after the transforms of a recipe."""
    for transform in transforms:
        match transform["name"]:
            case "to-tensor":
                images = images.float().div_(255)
            case "normalize":
                mean, std = (torch.tensor(transform[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
                images = (images - mean).div_(std)
            case "permute-pixels":
                order = torch.tensor(permutation(transform["seed"], images[0, 0].numel()))
                images = images.flatten(2)[:, :, order].view(images.shape)
            case other:
                sys.exit(f"data.transforms: this script does not know {other}")
    return images


class Augmented:
    """Batches with a random crop and a random flip of each image, as torchvision's `RandomCrop(size, padding)` and
    `RandomHorizontalFlip()` draw them, before the other transforms."""

    def __init__(self, images, augment, transforms):
        names = [transform["name"] for transform in augment]
        if names != ["random-crop", "random-horizontal-flip"] or set(augment[0]) != {"name", "size", "padding"} or set(augment[1]) != {"name"}:
            sys.exit(f"train.augment: this script knows a random crop with padding and then a flip, not {augment}")
        self.size, padding = augment[0]["size"], augment[0]["padding"]
        self.images = F.pad(images, [padding] * 4)
        self.transforms = transforms

    def __getitem__(self, index):
        count, channels, height, width = len(index), *self.images.shape[1:]
        rows, columns = torch.arange(self.size), torch.arange(self.size)
        rows = rows + torch.randint(height - self.size + 1, (count, 1))
        columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(0), columns)
        columns = columns + torch.randint(width - self.size + 1, (count, 1))
        cut = self.images[index[:, None, None, None], torch.arange(channels)[:, None, None], rows[:, None, :, None], columns[:, None, None, :]]
        return prepared(cut, self.transforms)


# ---- training --------------------------------------------------------------------------------------------------------------------


def optimizer(settings, parameters):
    settings = dict(settings)
    make = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    name = settings.pop("name")
    known(settings, "train.optimizer", {"lr", "momentum"} if name == "sgd" else {"lr"})
    if name not in make:
        sys.exit(f"train.optimizer: this script does not know {name}")
    return make[name](parameters, fused=True, **settings)


def schedule(settings, optimizer, steps):
    if settings is None:
        return None
    if settings != {"curve": {"name": "cosine"}, "per": "step"}:
        sys.exit(f"train.schedule: this script knows a cosine of steps, not {settings}")
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


def accuracy(model, images, labels):
    model.eval()
    with torch.inference_mode():
        batches = zip(images.split(TEST_BATCH), labels.split(TEST_BATCH))
        right = sum((model(x).argmax(1) == y).sum().item() for x, y in batches)
    return right / len(labels)


def run(seed, settings, train, test):
    """Test accuracy after the last epoch. The seed sets the initial weights and the order of the images."""
    (images, labels), batch, epochs = train, settings["train"]["batch_size"], settings["train"]["epochs"]
    count = len(labels) // batch * batch if settings["train"].get("drop_last", False) else len(labels)
    torch.manual_seed(seed)
    model = NETWORKS[settings["model"]["name"]][0]()
    # Convolutions of many channels are faster so; the sums are the same up to rounding.
    if settings["model"]["name"].startswith("vgg"):
        model = model.to(memory_format=torch.channels_last)
    steps = optimizer(settings["train"]["optimizer"], model.parameters())
    rate = schedule(settings["train"].get("schedule"), steps, -(-count // batch) * epochs)
    for _ in range(epochs):
        model.train()
        order = torch.randperm(len(labels)) if settings["train"].get("shuffle", True) else torch.arange(len(labels))
        for index in order[:count].split(batch):
            loss = F.cross_entropy(model(images[index]), labels[index])
            steps.zero_grad()
            loss.backward()
            steps.step()
            if rate is not None:
                rate.step()
    return accuracy(model, *test)


# ---- the file of results ---------------------------------------------------------------------------------------------------------


def cpu():
    try:
        names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor()


def begun(path, fresh):
    """The file of an earlier start, if it is of the same recipe, data and program; else `fresh`."""
    if not path.exists():
        return fresh
    found = json.loads(path.read_text())
    for key in ("torch", "threads", "data"):
        if found[key] != fresh[key]:
            sys.exit(f"{path}: made with {key} {found[key]}, and this is {fresh[key]}; move it away to begin anew")
    settings = [[(v["name"], v["settings"]) for v in file["variants"]] for file in (found, fresh)]
    if settings[0] != settings[1]:
        sys.exit(f"{path}: made with other settings; move it away to begin anew")
    return found


def write(path, results):
    """A whole file or none, an accuracy a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for variant in results["variants"]:
        variant["test_accuracy"] = dict(sorted(variant["test_accuracy"].items(), key=lambda item: int(item[0])))
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(results, indent=1) + "\n")
    os.replace(temporary, path)


def train_all(name, seeds, args):
    variants = recipe(name)
    names = {settings["data"]["dataset"] for settings in variants.values()}
    if len(names) != 1:
        sys.exit(f"{name}: this script knows recipes of one dataset")
    splits = load(*names, args.data, args.sample)
    fresh = {
        "recipe": name,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system().lower()} {platform.machine()}",
        "cpu": cpu(),
        "device": "cpu",
        "threads": args.threads,
        "seconds": 0.0,
        "data": described(*names, splits),
        "variants": [
            {"name": variant, "model": settings["model"]["name"], "settings": settings, "test_accuracy": {}}
            for variant, settings in variants.items()
        ],
    }
    path = args.out / f"{name}.json"
    results = begun(path, fresh)
    ready = {}
    for seed in seeds:
        for variant in results["variants"]:
            if str(seed) in variant["test_accuracy"]:
                continue
            start, settings = time.perf_counter(), variant["settings"]
            transforms, augment = settings["data"]["transforms"], settings["train"].get("augment", [])
            # Prepared images are shared by variants with the same transforms.
            key = json.dumps([transforms, augment])
            if key not in ready:
                (images, labels, _), (test_images, test_labels, _) = splits
                train = Augmented(images, augment, transforms) if augment else prepared(images, transforms)
                ready[key] = ((train, labels), (prepared(test_images, transforms), test_labels))
            found = run(seed, settings, *ready[key])
            seconds = time.perf_counter() - start
            variant["test_accuracy"][str(seed)] = found
            results["seconds"] = round(results["seconds"] + seconds, 3)
            write(path, results)
            print(f"{name} {variant['name']} seed {seed}: {100 * found:.2f} % in {seconds:.1f} s", flush=True)


def parse_seeds(text):
    """`0..128`, `0,3,5` or `7`."""
    if ".." in text:
        first, end = text.split("..")
        return list(range(int(first), int(end)))
    return [int(seed) for seed in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA", nargs="?", type=Path, help="folder with mnist/ and cifar10/")
    parser.add_argument("--recipe", action="append", choices=SEEDS, help="this recipe alone; may be given again")
    parser.add_argument("--seeds", type=parse_seeds, help="such as 0..128; default: as many as docs/equivalence.md plans")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results/pytorch", help="folder of the results")
    parser.add_argument("--sample", type=Path, default=SAMPLE, help="folder with the sample of Fashion-MNIST")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.recipe or SEEDS:
        train_all(name, args.seeds or range(SEEDS[name]), args)


if __name__ == "__main__":
    main()
