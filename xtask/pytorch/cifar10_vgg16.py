"""One epoch of the simplified VGG on CIFAR-10, as `cargo xtask run cifar10-vgg16 --set train.epochs=1`.

    python xtask/pytorch/cifar10_vgg16.py FOLDER_WITH_PARQUET SEED[,SEED...]

Needs torch 2.15, torchvision 0.29, pyarrow and Pillow. What it printed is in docs/performance.md.
"""

import io
import sys

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image
from torchvision.transforms import v2

root = sys.argv[1]; seeds = [int(s) for s in sys.argv[2].split(',')]
torch.set_num_threads(2)
def load(split):
    t = pq.read_table(f'{root}/{split}.parquet')
    x = np.stack([np.asarray(Image.open(io.BytesIO(b['bytes'])).convert('RGB')) for b in t.column(0).to_pylist()])
    return torch.from_numpy(x).permute(0,3,1,2).contiguous(), torch.tensor(t.column(1).to_pylist())
xtr, ytr = load('train'); xte, yte = load('test')
norm = v2.Normalize((0.4914,0.4822,0.4465),(0.2470,0.2435,0.2616))
tr = v2.Compose([v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True), norm])
te = v2.Compose([v2.ToDtype(torch.float32, scale=True), norm])
cfg = [64,'M',128,'M',256,256,'M',512,512,'M',512,512,'M']
def vgg():
    L=[];c=3
    for x in cfg:
        if x=='M': L.append(nn.MaxPool2d(2))
        else: L+=[nn.Conv2d(c,x,3,padding=1),nn.BatchNorm2d(x),nn.ReLU(True)]; c=x
    return nn.Sequential(*L,nn.Flatten(),nn.Linear(512,10))
for seed in seeds:
    torch.manual_seed(seed); m=vgg().to(memory_format=torch.channels_last); o=torch.optim.Adam(m.parameters(),lr=1e-3)
    m.train(); perm=torch.randperm(50000)
    for i in range(0,50000,128):
        idx=perm[i:i+128]; x=torch.stack([tr(xtr[j]) for j in idx]).to(memory_format=torch.channels_last)
        o.zero_grad(); l=F.cross_entropy(m(x),ytr[idx]); l.backward(); o.step()
    m.eval(); r=0
    with torch.no_grad():
        for i in range(0,10000,500): r+=(m(te(xte[i:i+500])).argmax(1)==yte[i:i+500]).sum().item()
    print(f'seed {seed} test_accuracy {r/1e4:.4f}', flush=True)
