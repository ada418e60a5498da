"""The PyTorch side of `cargo xtask bench --against pytorch`.

    python xtask/pytorch/bench.py --threads N [--device cuda]

Reads one JSON request a line from standard input and writes one JSON reply a line to standard output:

    {"do": "prepare", "case": {...}}            -> {"variants": [...], "parameters": n or null}
    {"do": "run", "variant": v, "steps": k}     -> {"seconds": [k times]}
    {"do": "memory"}                            -> {"mb": peak resident memory of this process}

A case is what `xtask/src/bench/case.rs` makes. Where an operation takes images, each variant is a memory format (`nchw`,
`channels_last`); data loading and optimizers have variants of their own. The caller counts the fastest. What is not said otherwise is
as PyTorch has it by default. On another device than the CPU networks alone are run, in f32 throughout (without TF32).
"""

import argparse
import gzip
import json
import math
import os
import signal
import sys
import time

try:
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
    import torchvision
    from PIL import Image
    from torchvision import transforms
    from torchvision.transforms import v2
except ImportError as error:
    print(json.dumps({"error": str(error)}), flush=True)
    sys.exit(1)

FORMATS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
DEVICE = torch.device("cpu")
CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


# ---- networks: the architectures of crates/tallow-models/src/zoo -----------------------------------------------------------------


def fc():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 10)
    )


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 6, 5)
        self.fc1, self.fc2 = nn.Linear(6 * 16, 50), nn.Linear(50, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class LeNet(nn.Module):
    """The network of PyTorch's CIFAR-10 tutorial with `a` and `b` maps."""

    def __init__(self, a, b):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, a, 5), nn.Conv2d(a, b, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(b * 25, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc3(F.relu(self.fc2(x)))


def vgg(widths):
    layers, maps = [], 3
    for width in widths:
        if width == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(maps, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(True)]
            maps = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))


VGG_SLIM = [64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"]
VGG16 = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]


def resnet18():
    """torchvision's, with a stem for 32x32 images."""
    net = torchvision.models.resnet18(num_classes=10)
    net.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)
    net.maxpool = nn.Identity()
    return net


class Basic(nn.Module):
    """The block of He et al.'s CIFAR networks, with their parameterless shortcut (option A)."""

    def __init__(self, inputs, maps, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, maps, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(maps)
        self.conv2 = nn.Conv2d(maps, maps, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(maps)
        self.stride, self.pad = stride, maps - inputs

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride != 1 or self.pad:
            half = self.pad // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return F.relu(y + x)


class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        blocks, inputs = [], 16
        for maps, stride in [(16, 1), (32, 2), (64, 2)]:
            for i in range(3):
                blocks.append(Basic(inputs, maps, stride if i == 0 else 1))
                inputs = maps
        self.blocks, self.fc = nn.Sequential(*blocks), nn.Linear(64, 10)

    def forward(self, x):
        x = self.blocks(F.relu(self.bn1(self.conv1(x))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


NETWORKS = {
    "fc": fc,
    "cnn": Cnn,
    "cifar-cnn": lambda: LeNet(6, 16),
    "lenet": lambda: LeNet(16, 32),
    "vgg16-slim": lambda: vgg(VGG_SLIM),
    "vgg16-bn": lambda: vgg(VGG16),
    "resnet18": resnet18,
    "resnet20": ResNet20,
}


def optimizer(parameters, config, **kind):
    options = {key: value for key, value in config.items() if key != "name"}
    made = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return made[config["name"]](parameters, **options, **kind)


# ---- cases: each returns {variant: function}, the number of parameters, and by what a call's time is divided ----------------------


def network(case):
    work, batch, training = case["work"], case["batch"], case["kind"] == "step"
    # Without convolutions the memory format means nothing.
    formats = ["nchw"] if case["name"] == "fc" else FORMATS

    def make(layout):
        torch.manual_seed(0)
        net = NETWORKS[case["name"]]().to(DEVICE, memory_format=FORMATS[layout])
        x = torch.randn(batch, *work["input"]).to(DEVICE, memory_format=FORMATS[layout])
        y = torch.randint(0, 10, (batch,)).to(DEVICE)
        if training:
            return training_step(net.train(), optimizer(net.parameters(), work["optimizer"]), x, y)
        return inference(net.eval(), x)

    with torch.device("meta"):
        count = sum(p.numel() for p in NETWORKS[case["name"]]().parameters())
    return {layout: lazily(make, layout) for layout in formats}, count, 1


def lazily(make, layout):
    """Made when it is first run, which is never timed: a process whose memory counts runs one format and holds no other."""
    made = []

    def run():
        if not made:
            made.append(make(layout))
        return made[0]()

    return run


def training_step(net, optim, x, y):
    def run():
        optim.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optim.step()
        return loss

    return run


def inference(net, x):
    # In eval() batch norm is a layer of its own still: PyTorch does not fold it into the convolution unasked.
    def run():
        with torch.inference_mode():
            return net(x)

    return run


def operator(case):
    op, batch = case["work"]["op"], case["batch"]
    backward = op.get("backward", False)
    if op["name"] == "adam":
        return adam(op)
    four_axes = op["name"] in ("conv", "max-pool", "batch-norm", "activation", "squeeze-excite")
    runs = {}
    for layout in FORMATS if four_axes else ["nchw"]:
        torch.manual_seed(0)
        like = lambda t: t.to(memory_format=FORMATS[layout])
        if op["name"] == "conv":
            x = like(torch.randn(batch, op["input"], op["side"], op["side"]))
            settings = {key: op[key] for key in ("stride", "padding", "groups")}
            layer = nn.Conv2d(op["input"], op["output"], op["kernel"], **settings)
            layer = layer.to(memory_format=FORMATS[layout])
        elif op["name"] == "max-pool":
            x, layer = like(torch.randn(batch, op["maps"], op["side"], op["side"])), nn.MaxPool2d(2)
        elif op["name"] == "batch-norm":
            x, layer = like(torch.randn(batch, op["maps"], op["side"], op["side"])), nn.BatchNorm2d(op["maps"])
        elif op["name"] == "layer-norm":
            x, layer = torch.randn(batch, op["side"], op["side"], op["maps"]), nn.LayerNorm(op["maps"])
        elif op["name"] == "activation":
            x, layer = like(torch.randn(batch, op["maps"], op["side"], op["side"])), getattr(F, op["function"])
        elif op["name"] == "squeeze-excite":
            x = like(torch.randn(batch, op["maps"], op["side"], op["side"]))
            layer = torchvision.ops.SqueezeExcitation(op["maps"], op["squeezed"]).to(memory_format=FORMATS[layout])
        elif op["name"] == "linear":
            x, layer = torch.randn(batch, op["inputs"]), nn.Linear(op["inputs"], op["outputs"])
        elif op["name"] == "cross-entropy":
            labels = torch.randint(0, op["classes"], (batch,))
            x, layer = torch.randn(batch, op["classes"]), lambda x, y=labels: F.cross_entropy(x, y)
        else:
            raise ValueError(f"unknown operator {op['name']}")
        runs[layout] = forward_backward(layer, x) if backward else inference(layer, x)
    return runs, None, 1


def forward_backward(layer, x):
    x.requires_grad_()
    parameters = list(layer.parameters()) if isinstance(layer, nn.Module) else []

    def run():
        for tensor in [x, *parameters]:
            tensor.grad = None
        y = layer(x)
        y.backward(torch.ones_like(y))

    return run


def adam(op):
    runs = {}
    for variant in ["default", "foreach", "fused"]:
        torch.manual_seed(0)
        net = NETWORKS[op["network"]]()
        for p in net.parameters():
            p.grad = torch.randn_like(p) * 1e-2
        kind = {} if variant == "default" else {variant: True}
        runs[variant] = optimizer(net.parameters(), {"name": "adam", "lr": 1e-3}, **kind).step
    return runs, None, 1


class Images(torch.utils.data.Dataset):
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
    return torch.utils.data.DataLoader(
        images, batch, shuffle=shuffle, num_workers=workers, persistent_workers=workers > 0
    )


def loader(case):
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
    runs = {}
    for variant, transform in [("pil", pil), ("tensor", tensor)]:
        data = batches(Images(pixels, labels, transform, variant == "pil"), batch, work["workers"], True)
        runs[variant] = lambda data=data: [None for _ in data] and None
    return runs, None, math.ceil(work["images"] / batch)


def idx(folder, name):
    """An IDX file, gzipped or not, as a uint8 tensor."""
    path = os.path.join(folder, name)
    opened = gzip.open(path + ".gz", "rb") if os.path.exists(path + ".gz") else open(path, "rb")
    with opened as file:
        data = bytearray(file.read())
    axes = data[3]
    sizes = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes)]
    return torch.frombuffer(data, dtype=torch.uint8, offset=4 + 4 * axes).reshape(sizes)


def epoch(case):
    work, batch = case["work"], case["batch"]
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])

    def split(name, shuffle):
        pixels = idx(work["data"], f"{name}-images-idx3-ubyte").unsqueeze(1)
        images = Images(pixels, idx(work["data"], f"{name}-labels-idx1-ubyte").long(), transform, True)
        return batches(images, batch, work["workers"], shuffle)

    train, test = split("train", True), split("t10k", False)

    def run(layout):
        torch.manual_seed(0)
        net = Cnn().to(memory_format=FORMATS[layout])
        optim = optimizer(net.parameters(), work["optimizer"])
        net.train()
        for x, y in train:
            optim.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optim.step()
        net.eval()
        loss, right = 0.0, 0
        with torch.no_grad():
            for x, y in test:
                output = net(x)
                loss += F.cross_entropy(output, y, reduction="sum").item()
                right += (output.argmax(1) == y).sum().item()
        if right < 0.8 * len(test.dataset):
            raise RuntimeError(f"this network did not learn: {right} of {len(test.dataset)} right")

    parameters = sum(p.numel() for p in Cnn().parameters())
    return {layout: lambda layout=layout: run(layout) for layout in FORMATS}, parameters, 1


MAKERS = {"network": network, "operator": operator, "loader": loader, "epoch": epoch}


# ---- the conversation ------------------------------------------------------------------------------------------------------------


def timed(run, steps, parts):
    seconds, result = [], None
    for _ in range(steps):
        result = None
        start = time.perf_counter()
        result = run()
        if DEVICE.type != "cpu":
            getattr(torch, DEVICE.type).synchronize()
        seconds.append((time.perf_counter() - start) / parts)
    if isinstance(result, torch.Tensor) and not torch.isfinite(result).all():
        raise RuntimeError("a loss or an output is not finite")
    return seconds


def peak_mb():
    """Peak resident memory; the kernel's high-water mark where there is one, since getrusage's can be inherited."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main():
    global DEVICE
    parser = argparse.ArgumentParser(description="The PyTorch side of `cargo xtask bench --against pytorch`.")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", type=torch.device, default=DEVICE)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    DEVICE = arguments.device
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    # An interrupt is for the caller, whose end closes standard input and so ends this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever a library prints must not get between the replies.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**reply):
        print(json.dumps(reply), file=replies, flush=True)

    say(version=f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}")
    runs, parts = {}, 1
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "prepare":
                runs = {}  # frees the last case's memory first
                runs, parameters, parts = MAKERS[request["case"]["work"]["is"]](request["case"])
                say(variants=list(runs), parameters=parameters)
            elif request["do"] == "run":
                say(seconds=timed(runs[request["variant"]], request["steps"], parts))
            elif request["do"] == "memory":
                say(mb=peak_mb())
            else:
                say(error=f"unknown request {request['do']}")
        except Exception as error:
            say(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
