"""The PyTorch side of `cargo xtask bench --against pytorch`.

    python xtask/pytorch/bench.py --threads N [--device cuda] [--arms eager]

Reads one JSON request a line from standard input and writes one JSON reply a line to standard output:

    {"do": "prepare", "case": {...}}    -> {"arms": [{"name": a, "precision": "fp32" or "bf16", "compiled": b}], "parameters": n or null}
    {"do": "run", "arm": a, "steps": k, "limit": s or null}  -> {"seconds": [k times]}, or an error after s seconds
    {"do": "drop", "arm": a}            -> {}

A case is what `xtask/src/bench/worker/case.rs` has. A network has arms for eager and compiled runs, f32 and bf16 autocast, both memory
formats, one thread and all, and the default and the fused optimizer; a compiled network has the fused one alone. The caller tries all of
them shortly and measures the fastest. What is not said otherwise is as PyTorch has it by default. On another device than the CPU
networks alone are run, without TF32.
"""

import argparse
import itertools
import json
import os
import signal
import sys

try:
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
    import torchvision
    from bench_arms import FORMATS, PRECISIONS, Arm, Place, TooLong, compiled, in_precision, named, set_up_compiler, timed
    from bench_loading import epoch, loader
    from bench_networks import NETWORKS, optimizer
except ImportError as error:
    print(json.dumps({"error": str(error)}), flush=True)
    sys.exit(1)


# ---- cases: each returns {name: arm}, the number of parameters, and by what a call's time is divided ------------------------------


def network(case, place):
    work, training = case["work"], case["kind"] == "step"
    modes = ["eager"]
    if place.compiled:
        modes += ["compile"] if training else ["compile", "compile, freezing"]
    # Without convolutions the memory format means nothing.
    formats = ["nchw"] if case["name"] == "fc" else FORMATS

    def make(mode, precision, layout, kind):
        torch.manual_seed(0)
        net = NETWORKS[case["name"]]().to(place.device, memory_format=FORMATS[layout]).train(training)
        forward = in_precision(compiled(net, mode), precision, place.device)
        x = torch.randn(case["batch"], *work["input"]).to(place.device, memory_format=FORMATS[layout])
        if not training:
            return inference(forward, x)
        y = torch.randint(0, 10, (case["batch"],)).to(place.device)
        fused = {"fused": True} if kind == "fused" else {}
        return training_step(forward, optimizer(net.parameters(), work["optimizer"], **fused), x, y)

    arms = {}
    for mode, precision, layout, threads in itertools.product(modes, PRECISIONS, formats, place.thread_counts()):
        kinds = [""] if not training else ["", "fused"] if mode == "eager" else ["fused"]
        for kind in kinds:
            settings = (mode, precision, layout, kind)
            arms[named(*settings, threads=threads)] = Arm(
                lambda settings=settings: make(*settings), threads, precision, mode != "eager"
            )
    with torch.device("meta"):
        count = sum(p.numel() for p in NETWORKS[case["name"]]().parameters())
    return arms, count, 1


def training_step(forward, optim, x, y):
    def run():
        optim.zero_grad()
        loss = F.cross_entropy(forward(x), y)
        loss.backward()
        optim.step()
        return loss

    return run


def inference(forward, x):
    # In eval() batch norm is a layer of its own still: PyTorch folds it into the convolution only when it compiles with freezing.
    def run():
        with torch.inference_mode():
            return forward(x)

    return run


def operator(case, place):
    op = case["work"]["op"]
    if op["name"] == "adam":
        return adam(op, place)
    four_axes = op["name"] in ("conv", "max-pool", "batch-norm", "activation", "squeeze-excite")

    def make(layout):
        torch.manual_seed(0)
        layer, x = layer_and_input(op, case["batch"], FORMATS[layout])
        return forward_backward(layer, x) if op.get("backward", False) else inference(layer, x)

    arms = {}
    for layout, threads in itertools.product(FORMATS if four_axes else ["nchw"], place.thread_counts()):
        arms[named(layout, threads=threads)] = Arm(lambda layout=layout: make(layout), threads)
    return arms, None, 1


def layer_and_input(op, batch, memory_format):
    def images(channels):
        return torch.randn(batch, channels, op["side"], op["side"]).to(memory_format=memory_format)

    match op["name"]:
        case "conv":
            settings = {key: op[key] for key in ("stride", "padding", "groups")}
            layer = nn.Conv2d(op["input"], op["output"], op["kernel"], **settings)
            return layer.to(memory_format=memory_format), images(op["input"])
        case "max-pool":
            return nn.MaxPool2d(2), images(op["maps"])
        case "batch-norm":
            return nn.BatchNorm2d(op["maps"]), images(op["maps"])
        case "layer-norm":
            return nn.LayerNorm(op["maps"]), torch.randn(batch, op["side"], op["side"], op["maps"])
        case "activation":
            return getattr(F, op["function"]), images(op["maps"])
        case "squeeze-excite":
            layer = torchvision.ops.SqueezeExcitation(op["maps"], op["squeezed"])
            return layer.to(memory_format=memory_format), images(op["maps"])
        case "linear":
            return nn.Linear(op["inputs"], op["outputs"]), torch.randn(batch, op["inputs"])
        case "cross-entropy":
            labels = torch.randint(0, op["classes"], (batch,))
            return lambda x: F.cross_entropy(x, labels), torch.randn(batch, op["classes"])
        case name:
            raise ValueError(f"unknown operator {name}")


def forward_backward(layer, x):
    x.requires_grad_()
    parameters = list(layer.parameters()) if isinstance(layer, nn.Module) else []

    def run():
        for tensor in [x, *parameters]:
            tensor.grad = None
        y = layer(x)
        y.backward(torch.ones_like(y))

    return run


def adam(op, place):
    def make(kind):
        torch.manual_seed(0)
        net = NETWORKS[op["network"]]()
        for p in net.parameters():
            p.grad = torch.randn_like(p) * 1e-2
        settings = {} if kind == "default" else {kind: True}
        return optimizer(net.parameters(), {"name": "adam", "lr": 1e-3}, **settings).step

    kinds = itertools.product(["default", "foreach", "fused"], place.thread_counts())
    arms = {named(kind, threads=threads): Arm(lambda kind=kind: make(kind), threads) for kind, threads in kinds}
    return arms, None, 1


MAKERS = {"network": network, "operator": operator, "loader": loader, "epoch": epoch}


# ---- the conversation ------------------------------------------------------------------------------------------------------------


class Worker:
    def __init__(self, place):
        self.place, self.arms, self.parts = place, {}, 1

    def prepare(self, request):
        self.arms = {}  # frees the last case's memory first
        if self.place.compiled:
            torch.compiler.reset()
        case = request["case"]
        self.arms, parameters, self.parts = MAKERS[case["work"]["is"]](case, self.place)
        arms = [
            {"name": name, "precision": arm.precision, "compiled": arm.compiled} for name, arm in self.arms.items()
        ]
        return {"arms": arms, "parameters": parameters}

    def run(self, request):
        arm = self.arms[request["arm"]]
        try:
            seconds = timed(arm, request["steps"], self.parts, self.place.device, request.get("limit"))
        except BaseException:
            arm.drop()
            raise
        return {"seconds": seconds}

    def drop(self, request):
        self.arms[request["arm"]].drop()
        return {}


def reason(error):
    """One line; errors of the compiler have hundreds."""
    text = str(error) if isinstance(error, TooLong) else f"{type(error).__name__}: {error}"
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:300] + " ..."


def main():
    parser = argparse.ArgumentParser(description="The PyTorch side of `cargo xtask bench --against pytorch`.")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--arms", choices=["all", "eager"], default="all")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    # An interrupt is for the caller, whose end closes standard input and so ends this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever a library prints must not get between the replies.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(reply):
        print(json.dumps(reply), file=replies, flush=True)

    worker = Worker(Place(arguments.device, arguments.threads, arguments.arms == "all"))
    if worker.place.compiled:
        set_up_compiler()
    answers = {"prepare": worker.prepare, "run": worker.run, "drop": worker.drop}
    say({"version": f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}"})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            say(answers[request["do"]](request))
        except (Exception, TooLong) as error:
            say({"error": reason(error)})


if __name__ == "__main__":
    main()
