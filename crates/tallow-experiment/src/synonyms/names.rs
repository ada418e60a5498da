//! Names that other libraries have for transforms, optimizers, losses and schedules.

use super::meaning::Meaning::{self, As, Not, Same};

/// Names of transforms, optimizers, losses and schedules, in canonical form.
pub(crate) const NAMES: &[(&[&str], Meaning)] = &[
    // Transforms.
    (
        &[
            "hflip",
            "fliplr",
            "horizontalflip",
            "randomflip",
            "randomlrflip",
        ],
        Same("random-horizontal-flip"),
    ),
    (
        &["vflip", "flipud", "verticalflip"],
        Same("random-vertical-flip"),
    ),
    (
        &["rotation", "rotate", "randomrotate", "rotate90"],
        Same("random-rotation"),
    ),
    (
        &[
            "affine",
            "shiftscalerotate",
            "randomshear",
            "randomtranslate",
        ],
        Same("random-affine"),
    ),
    (&["randomsizedcrop", "rrc"], Same("random-resized-crop")),
    (&["scale", "smallestmaxsize", "resizeshort"], Same("resize")),
    (
        &[
            "jitter",
            "colourjitter",
            "randombrightness",
            "randomcontrast",
            "brightness",
            "contrast",
        ],
        Same("color-jitter"),
    ),
    (&["togray", "randomgray"], Same("random-grayscale")),
    (&["gray", "greyscale"], Same("grayscale")),
    (&["blur", "randomblur"], Same("gaussian-blur")),
    (&["coarsedropout", "randomcutout"], Same("cutout")),
    (
        &[
            "totensorv2",
            "toimage",
            "piltotensor",
            "todtype",
            "convertimagedtype",
            "convertimagefloat",
        ],
        Same("to-tensor"),
    ),
    (&["normalise", "normalization"], Same("normalize")),
    (
        &["trivialaugment", "ta", "tawide"],
        Same("trivial-augment-wide"),
    ),
    (&["ra", "randaugmentation"], Same("rand-augment")),
    (
        &["mixup", "cutmix"],
        As("train.mix", "it acts on batches, not on images"),
    ),
    (
        &["fivecrop", "tencrop"],
        As("train.tta", "several views of each test image"),
    ),
    (
        &[
            "elastictransform",
            "randomapply",
            "randomchoice",
            "randomorder",
            "lambda",
            "gaussiannoise",
            "randomzoomout",
            "randomioucrop",
            "scalejitter",
            "randomchannelpermutation",
            "lineartransformation",
            "randomshortestsize",
        ],
        Not("there is no such transform; a program can implement `Transform`"),
    ),
    // Optimizers.
    (
        &["sgdmomentum", "momentum", "nesterov", "nag"],
        As(
            "train.optimizer",
            "`{ name = \"sgd\", momentum = 0.9, nesterov = true }`",
        ),
    ),
    (&["rmsproptf"], Same("rmsprop")),
    (
        &["lookahead"],
        As("train.lookahead", "around any optimizer"),
    ),
    (&["sam", "asam"], As("train.sam", "around any optimizer")),
    (
        &[
            "adadelta",
            "adagrad",
            "adamax",
            "asgd",
            "lbfgs",
            "rprop",
            "sparseadam",
            "adafactor",
            "adabelief",
            "adahessian",
            "shampoo",
            "soap",
            "prodigy",
            "schedulefree",
            "sophia",
        ],
        Not("there is no such optimizer; a program can implement `Optimizer`"),
    ),
    // Losses.
    (
        &[
            "ce",
            "crossentropyloss",
            "nll",
            "nllloss",
            "softmaxloss",
            "logloss",
            "categoricalcrossentropy",
            "sparsecategoricalcrossentropy",
            "labelsmoothingcrossentropy",
        ],
        Same("cross-entropy"),
    ),
    (
        &["mse", "mseloss", "l2", "l2loss", "meansquarederror"],
        Same("squared-error"),
    ),
    (
        &[
            "bce",
            "bceloss",
            "bcewithlogits",
            "bcewithlogitsloss",
            "binarycrossentropywithlogits",
        ],
        Same("binary-cross-entropy"),
    ),
    (&["focalloss"], Same("focal")),
    (&["sigmoidfocalloss"], Same("sigmoid-focal")),
    (
        &["kd", "kldiv", "kldivloss", "knowledgedistillation"],
        Same("distillation"),
    ),
    (
        &[
            "hinge",
            "multimarginloss",
            "l1",
            "l1loss",
            "smoothl1",
            "smoothl1loss",
            "huber",
            "huberloss",
            "triplet",
            "tripletmarginloss",
            "cosineembeddingloss",
            "ctcloss",
            "polyloss",
        ],
        Not("there is no such loss; a program can implement `Loss`"),
    ),
    // Schedules.
    (&["steplr"], Same("step")),
    (&["multisteplr"], Same("multi-step")),
    (&["exponentiallr", "exp"], Same("exponential")),
    (&["linearlr"], Same("linear")),
    (&["constantlr", "none", "fixed"], Same("constant")),
    (&["polynomiallr", "poly"], Same("polynomial")),
    (
        &[
            "cosineannealing",
            "cosineannealinglr",
            "cosinelr",
            "cosinedecay",
            "cos",
        ],
        Same("cosine"),
    ),
    (
        &["cosineannealingwarmrestarts", "sgdr", "warmrestarts"],
        Same("cosine-warm-restarts"),
    ),
    (&["onecyclelr", "onecyclepolicy"], Same("one-cycle")),
    (
        &["reducelronplateau", "plateau", "plateaulr"],
        Same("reduce-on-plateau"),
    ),
    (&["sequentiallr", "chainedscheduler"], Same("sequence")),
    (
        &["triangle", "triangular2", "cycliclr"],
        As(
            "train.schedule.curve",
            "`{ name = \"triangular\" }` is one cycle, over the whole run",
        ),
    ),
    (
        &["lambdalr", "multiplicativelr", "cosinewarmup", "tanh"],
        Not(
            "there is no such schedule; `warmup` is a key beside `curve`, and a program can implement `Schedule`",
        ),
    ),
];
