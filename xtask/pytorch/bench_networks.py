"""Networks and optimizers of the PyTorch side of `cargo xtask bench`: the architectures of crates/tallow-models/src/zoo."""

import torch
import torch.nn as nn
import torch.nn.functional as F


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
    import torchvision

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
