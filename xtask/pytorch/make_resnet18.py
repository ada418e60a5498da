"""Trains torchvision's ResNet-18 on a folder of pictures and writes a checkpoint to fine-tune from.

torch 2.15.0, torchvision 0.29; Python 3.11:
    python make_resnet18.py resnet18.pth --folder pictures --epochs 5

The folder has a folder for each class in `train`. Pictures are prepared as for torchvision's own weights, so that the transforms of
`model.pretrained = "resnet18"` fit, if `--size` is not given. With `--epochs 0` the checkpoint has the seeded initial weights.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torchvision import datasets, models, transforms

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("checkpoint", type=Path, help="file to write")
parser.add_argument("--folder", type=Path, help="folder of pictures, with `train` in it")
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--size", type=int, default=224, help="height and width in pixels; less takes less time")
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--lr", type=float, default=0.05)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()

torch.set_num_threads(args.threads)
torch.manual_seed(args.seed)
classes = 1000
if args.epochs > 0:
    if args.folder is None:
        parser.error("--folder is missing: expected a folder of pictures to train on, or --epochs 0")
    prepare = transforms.Compose([
        transforms.Resize(args.size * 256 // 224),
        transforms.RandomCrop(args.size),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])
    pictures = datasets.ImageFolder(args.folder / "train", prepare)
    classes = len(pictures.classes)
model = models.resnet18(num_classes=classes)
if args.epochs > 0:
    loader = torch.utils.data.DataLoader(pictures, args.batch_size, shuffle=True, drop_last=len(pictures) > args.batch_size)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs * len(loader))
    model.train()
    for epoch in range(args.epochs):
        total, right, seen = 0.0, 0, 0
        for images, labels in loader:
            optimizer.zero_grad()
            logits = model(images)
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(labels)
            right += int((logits.argmax(1) == labels).sum())
            seen += len(labels)
        print(f"epoch {epoch + 1}: loss {total / seen:.4f}, accuracy {right / seen:.4f}", flush=True)
torch.save({"state_dict": model.state_dict()}, args.checkpoint)
