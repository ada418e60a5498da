//! Keys of other libraries.

use super::meaning::Meaning::{self, As, Not, Same};

/// Keys, in canonical form.
pub(crate) const KEYS: &[(&[&str], Meaning)] = &[
    // Optimizer.
    (
        &[
            "lr",
            "learningrate",
            "baselr",
            "initiallr",
            "initlr",
            "lr0",
            "maxlr",
            "lrmax",
        ],
        Same("train.optimizer.lr"),
    ),
    (
        &["momentum", "sgdmomentum"],
        Same("train.optimizer.momentum"),
    ),
    (
        &["weightdecay", "wd", "l2", "l2reg"],
        Same("train.optimizer.weight_decay"),
    ),
    (&["opt", "optim", "optimiser"], Same("train.optimizer")),
    (
        &["opteps", "adamepsilon", "epsilon", "optimizereps"],
        Same("train.optimizer.eps"),
    ),
    (
        &["beta1", "beta2", "adambeta1", "adambeta2", "optbetas"],
        As("train.optimizer.betas", "a list of the two"),
    ),
    (
        &["paramgroups", "parameters"],
        As(
            "train.rules",
            "rules select parameters by name or dimensions",
        ),
    ),
    (
        &[
            "nobiasdecay",
            "filterbiasandbn",
            "normweightdecay",
            "biasweightdecay",
            "nobiasnormdecay",
        ],
        As(
            "train.decay_norm_and_bias",
            "`false` decays neither norms nor biases",
        ),
    ),
    // Schedule.
    (
        &["scheduler", "lrscheduler", "sched", "lrschedule", "lrsched"],
        Same("train.schedule"),
    ),
    (
        &[
            "warmup",
            "warmupepochs",
            "warmupsteps",
            "lrwarmupepochs",
            "warmuplr",
            "warmupratio",
            "warmupmethod",
        ],
        As(
            "train.schedule.warmup",
            "`{ epochs = 5 }` or `{ steps = 500 }`",
        ),
    ),
    (
        &["stepsize", "lrstepsize", "decayepochs"],
        Same("train.schedule.curve.size"),
    ),
    (
        &["gamma", "lrgamma", "decayrate"],
        Same("train.schedule.curve.gamma"),
    ),
    (
        &["milestones", "lrmilestones", "decaymilestones"],
        Same("train.schedule.curve.milestones"),
    ),
    (
        &["minlr", "lrmin", "etamin"],
        As(
            "train.schedule.curve.eta_min",
            "of the cosine curves; `min_lr` of `reduce-on-plateau`",
        ),
    ),
    (&["pctstart"], Same("train.schedule.curve.pct_start")),
    // Length of training.
    (
        &[
            "maxepochs",
            "numepochs",
            "nepochs",
            "nbepochs",
            "numtrainepochs",
        ],
        Same("train.epochs"),
    ),
    (
        &["minepochs", "minsteps"],
        Not(
            "there is no least length; `train.early_stopping.patience` says how long training goes on without improvement",
        ),
    ),
    (
        &["maxtime", "maxhours", "timelimit"],
        Same("train.max_minutes"),
    ),
    (
        &[
            "maxiter",
            "maxiters",
            "iterations",
            "numsteps",
            "totalsteps",
        ],
        Same("train.max_steps"),
    ),
    (
        &[
            "earlystop",
            "earlystoppingcallback",
            "earlystoppingpatience",
            "espatience",
            "patience",
        ],
        As("train.early_stopping", "`{ patience = 3 }`"),
    ),
    (
        &["mindelta", "earlystoppingdelta"],
        Same("train.early_stopping.min_delta"),
    ),
    // Batches.
    (
        &[
            "bs",
            "trainbatchsize",
            "perdevicetrainbatchsize",
            "minibatchsize",
        ],
        Same("train.batch_size"),
    ),
    (
        &[
            "valbatchsize",
            "testbatchsize",
            "evalbatchsize",
            "validationbatchsize",
        ],
        Not(
            "there is no such key: the result of an evaluation does not depend on the size of its batches",
        ),
    ),
    (
        &[
            "numworkers",
            "nworkers",
            "numthreads",
            "dataloadernumworkers",
        ],
        Same("train.workers"),
    ),
    (
        &[
            "pinmemory",
            "pinmem",
            "persistentworkers",
            "prefetchfactor",
            "prefetch",
        ],
        Not(
            "there is no such key: batches are loaded ahead by `train.workers` threads of the same process",
        ),
    ),
    (
        &[
            "accumulategradbatches",
            "gradientaccumulationsteps",
            "gradaccumsteps",
            "accumsteps",
            "accumiter",
            "gradaccum",
            "gradientaccumulation",
            "updatefreq",
        ],
        As(
            "train.chunks",
            "each batch of `train.batch_size` images is cut into so many chunks; batches are not joined",
        ),
    ),
    // Gradients.
    (
        &[
            "gradientclipval",
            "gradclip",
            "clipgrad",
            "clipgradnorm",
            "maxgradnorm",
            "gradclipnorm",
            "clipnorm",
            "gradientclipping",
            "clipgradvalue",
            "clipvalue",
            "gradientclipalgorithm",
            "clipmode",
            "gradientclip",
        ],
        As(
            "train.clip",
            "`{ norm = 1.0 }`, `{ value = 0.5 }` or `{ adaptive = 0.01 }`",
        ),
    ),
    (
        &[
            "amp",
            "fp16",
            "bf16",
            "halfprecision",
            "mixedprecision",
            "useamp",
            "dtype",
            "ampdtype",
        ],
        As(
            "train.precision",
            "`\"bf16\"` or `\"tf32\"` on a CUDA device; there is none in f16",
        ),
    ),
    (
        &[
            "compilemode",
            "cudagraphs",
            "reduceoverhead",
            "usecudagraph",
            "usecudagraphs",
        ],
        As("train.cuda_graph", "`true` repeats a step as a CUDA graph"),
    ),
    // Loss.
    (
        &[
            "criterion",
            "lossfn",
            "lossfunction",
            "losstype",
            "objective",
        ],
        Same("train.loss"),
    ),
    (
        &[
            "labelsmoothing",
            "smoothing",
            "labelsmooth",
            "labelsmoothingfactor",
        ],
        Same("train.loss.label_smoothing"),
    ),
    (
        &["classweight", "classweights", "lossweights"],
        Same("train.loss.class_weights"),
    ),
    (
        &["bceloss"],
        As("train.loss", "`{ name = \"binary-cross-entropy\" }`"),
    ),
    // Regularisation and averages.
    (
        &["drop", "droprate", "dropoutrate", "dropoutp"],
        Same("model.dropout"),
    ),
    (
        &[
            "droppath",
            "droppathrate",
            "stochasticdepthprob",
            "stochasticdepthrate",
            "dropconnect",
            "survivalprob",
        ],
        Same("model.stochastic_depth"),
    ),
    (&["mixup", "mixupalpha"], Same("train.mix.mixup_alpha")),
    (&["cutmix", "cutmixalpha"], Same("train.mix.cutmix_alpha")),
    (&["mixupprob"], Same("train.mix.probability")),
    (
        &["mixupswitchprob", "cutmixprob"],
        Same("train.mix.switch_probability"),
    ),
    (
        &["modelema", "emadecay", "modelemadecay", "averagemodel"],
        As("train.ema", "`{ decay = 0.999 }`"),
    ),
    (&["swalr", "swalrs"], Same("train.swa.lr")),
    (&["swaepochstart", "swastart"], Same("train.swa.start")),
    // Augmentation and size.
    (
        &[
            "augmentation",
            "augmentations",
            "autoaugment",
            "aa",
            "randaugment",
            "trainaugment",
        ],
        As(
            "train.augment",
            "a list of transforms, such as `[{ name = \"rand-augment\" }]`",
        ),
    ),
    (
        &["transform", "preprocessing", "preprocess", "evaltransforms"],
        Same("data.transforms"),
    ),
    (&["traintransform"], Same("data.train_transforms")),
    (
        &[
            "testtransform",
            "valtransform",
            "valtransforms",
            "validationtransforms",
        ],
        Same("data.test_transforms"),
    ),
    (
        &[
            "hflip",
            "vflip",
            "colorjitter",
            "reprob",
            "randomerasing",
            "randomerase",
        ],
        As(
            "train.augment",
            "as a transform: `{ name = \"random-horizontal-flip\" }`, `\"color-jitter\"`, `\"random-erasing\"`",
        ),
    ),
    (
        &[
            "inputsize",
            "imgsize",
            "imagesize",
            "imgsz",
            "resolution",
            "traincropsize",
            "valcropsize",
            "resizesize",
        ],
        As(
            "data.transforms",
            "`{ name = \"resize\", size = 224 }` makes all images of one size",
        ),
    ),
    (
        &[
            "mean",
            "std",
            "imagemean",
            "imagestd",
            "normalization",
            "normalize",
        ],
        As(
            "data.transforms",
            "`{ name = \"normalize\", mean = [...], std = [...] }`",
        ),
    ),
    (
        &[
            "checkvaleverynepoch",
            "evaluationinterval",
            "evalinterval",
            "evalevery",
            "valinterval",
            "valevery",
        ],
        Same("train.evaluate_every"),
    ),
    (
        &["ttaviews", "testtimeaugmentation", "testtimeaug"],
        Same("train.tta"),
    ),
    // Data.
    (
        &[
            "valsplit",
            "validationsplit",
            "valsize",
            "valratio",
            "valfraction",
            "val",
            "valpct",
            "validpct",
        ],
        Same("data.validation"),
    ),
    (
        &[
            "limittrainbatches",
            "maxtrainsamples",
            "trainsize",
            "overfitbatches",
            "fastdevrun",
        ],
        As(
            "data.train_samples",
            "a number of images; `run --overfit-batches N` checks that a network can learn them",
        ),
    ),
    (
        &[
            "limittestbatches",
            "limitvalbatches",
            "maxevalsamples",
            "testsize",
        ],
        As("data.test_samples", "a number of images"),
    ),
    (
        &["datadir", "dataroot", "datapath", "root"],
        As(
            "data.dataset",
            "`\"folder:PATH\"`; `--data DIR` says where known datasets are",
        ),
    ),
    (
        &[
            "numclasses",
            "nclasses",
            "nbclasses",
            "classes",
            "inchans",
            "inchannels",
            "numchannels",
        ],
        Not("there is no such key: the dataset determines it"),
    ),
    // Model.
    (
        &[
            "arch",
            "architecture",
            "backbone",
            "modelname",
            "net",
            "network",
        ],
        Same("model.name"),
    ),
    (
        &[
            "checkpointpath",
            "initialcheckpoint",
            "statedict",
            "pretrainedweights",
            "ckptpath",
            "weightspath",
        ],
        Same("model.weights"),
    ),
    (
        &["resetclassifier", "newclassifier", "replacehead"],
        Same("model.new_head"),
    ),
    (
        &[
            "freezebackbone",
            "freezelayers",
            "frozen",
            "freezeat",
            "requiresgrad",
        ],
        As("train.freeze", "a list of layers"),
    ),
    // Best and last weights, and what is written.
    (
        &["loadbestmodelatend", "loadbest", "restorebestweights"],
        Same("train.restore_best"),
    ),
    (
        &["savebest", "savebestonly", "savetopk", "checkpointbest"],
        Same("train.checkpoint.best"),
    ),
    (
        &["savelast", "checkpointhist", "savetotallimit"],
        Same("train.checkpoint.keep_last"),
    ),
    (
        &["everynepochs", "saveevery", "saveperiod", "savefreq"],
        Same("train.checkpoint.every_epochs"),
    ),
    (
        &["everyntrainsteps", "savesteps"],
        Same("train.checkpoint.every_steps"),
    ),
    (
        &[
            "modelcheckpoint",
            "checkpointing",
            "enablecheckpointing",
            "checkpoints",
        ],
        Same("train.checkpoint"),
    ),
    (
        &[
            "metric",
            "evalmetric",
            "metricforbestmodel",
            "monitormetric",
            "bestmetric",
        ],
        Same("train.monitor"),
    ),
    (
        &["valcheckinterval", "evaluationstrategy", "evalsteps"],
        As(
            "train.evaluate_every",
            "epochs between two evaluations; there is none within an epoch",
        ),
    ),
    (
        &[
            "logger",
            "logeverynsteps",
            "loginterval",
            "logdir",
            "tensorboard",
            "outputdir",
            "savedir",
            "output",
        ],
        Not(
            "there is no such key: every run writes its metrics, also for TensorBoard, below `--out`",
        ),
    ),
    // What is an argument, and not part of a recipe.
    (
        &[
            "seed",
            "randomseed",
            "randomstate",
            "manualseed",
            "seedeverything",
        ],
        As("seeds", "a list at the top of the file, or `--seeds`"),
    ),
    (
        &["device", "accelerator", "gpus", "gpu", "cuda", "tpucores"],
        Not("the device is no part of a recipe: `--device cuda`"),
    ),
    (
        &[
            "strategy",
            "ddp",
            "numnodes",
            "numdevices",
            "devices",
            "distributed",
            "worldsize",
        ],
        Not("there is no such key: a process has one device, mpirun starts several"),
    ),
    (
        &["syncbn", "syncbatchnorm"],
        As(
            "train.norm_statistics",
            "`\"sync\"` normalizes all chunks of a batch together",
        ),
    ),
    (
        &["deterministic", "benchmark", "cudnnbenchmark"],
        Not("there is no such key: the same seed gives the same bits"),
    ),
    (
        &["compile", "torchcompile", "torchscript", "channelslast"],
        Not("there is no such key"),
    ),
    (
        &["resume", "resumefromcheckpoint", "ckpt"],
        Not("a run that was interrupted is continued by `run --resume`, not by its recipe"),
    ),
    (
        &["autolrfind", "lrfind", "lrfinder"],
        Not("`tallow lr-find` suggests a learning rate"),
    ),
    (
        &["callbacks"],
        Not("callbacks are for programs (`Trainer::with_callback`), not for recipes"),
    ),
];
