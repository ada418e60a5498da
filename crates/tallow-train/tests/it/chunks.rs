//! Batches in chunks.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::ModuleT;
use tallow_ops::{Init, ParamStore, linear, relu};
use tallow_train::{
    Chunks, CrossEntropy, ForwardBackward, Loss, NormStatistics, StepInput, StepOutput, Target,
    TrainConfig, TrainStep, Trainer,
};

use crate::batch::tensor;
use crate::common::{CLASSES, flat, loaders, net, recipe, values};

/// Two layers without batch norm and dropout.
struct TwoLayers([Var; 4]);

impl ModuleT for TwoLayers {
    fn forward_t(&self, x: &Tensor, _: bool) -> candle_core::Result<Tensor> {
        let [w1, b1, w2, b2] = &self.0;
        let hidden = relu(&linear(&x.flatten_from(1)?, w1, Some(b1))?)?;
        Ok(linear(&hidden, w2, Some(b2))?)
    }
}

fn two_layers(dtype: DType) -> (TwoLayers, ParamStore) {
    let store = ParamStore::new(dtype, &Device::Cpu, 0);
    let uniform = || Init::Uniform { lo: -0.1, up: 0.1 };
    let root = store.root();
    let model = TwoLayers([
        root.param("w1", (20, 64), uniform()).unwrap(),
        root.param("b1", 20, uniform()).unwrap(),
        root.param("w2", (CLASSES, 20), uniform()).unwrap(),
        root.param("b2", CLASSES, uniform()).unwrap(),
    ]);
    (model, store)
}

/// Step of `samples` samples by `step`.
fn step_of(
    samples: usize,
    step: &mut dyn TrainStep,
    loss: &dyn Loss,
    dtype: DType,
) -> (StepOutput, ParamStore) {
    let (model, store) = two_layers(dtype);
    let images = tensor(&[samples, 1, 8, 8], 3).to_dtype(dtype).unwrap();
    let labels = (0..samples).map(|i| (i * i % CLASSES) as u32);
    let target = Target::Classes(Tensor::from_iter(labels, &Device::Cpu).unwrap());
    let output = step.step(&StepInput {
        model: &model,
        store: &store,
        loss,
        images: &images,
        target: &target,
        epoch: 0,
        step: 0,
    });
    (output.unwrap(), store)
}

/// 4 x 32 is 128, and so is every other division, with and without class weights.
#[test]
fn chunks_give_the_gradients_of_the_batch() {
    let plain = CrossEntropy::default();
    let weighted = CrossEntropy {
        label_smoothing: 0.1,
        weight: Some(vec![0.5, 3.0, 0.0, 1.25, 2.0, 0.125]),
    };
    for loss in [&plain, &weighted] {
        for dtype in [DType::F32, DType::F64] {
            for (samples, chunks) in [(128, 4), (128, 3), (10, 7), (3, 8)] {
                let (whole, store) = step_of(samples, &mut ForwardBackward, loss, dtype);
                let mut step = Chunks::new(chunks, ForwardBackward);
                let (parts, other) = step_of(samples, &mut step, loss, dtype);
                let tolerance = if dtype == DType::F32 { 1e-6 } else { 1e-14 };
                let close = |a: &Tensor, b: &Tensor, what: &str| {
                    for (a, b) in flat(a).iter().zip(flat(b)) {
                        assert!(
                            (a - b).abs() <= tolerance,
                            "{samples}/{chunks} {what}: {a} {b}"
                        );
                    }
                };
                close(&whole.loss, &parts.loss, "loss");
                close(&whole.logits, &parts.logits, "logits");
                assert_eq!(parts.logits.dims(), [samples, CLASSES]);
                let pairs = store.parameters().into_iter().zip(other.parameters());
                for ((name, a), (_, b)) in pairs {
                    close(
                        whole.grads.get(&a).unwrap(),
                        parts.grads.get(&b).unwrap(),
                        &name,
                    );
                }
            }
        }
    }
}

/// Batches of 128 in four chunks train the weights of batches of 128.
#[test]
fn four_chunks_train_as_one() {
    let fit = |chunks: usize| {
        let (model, store) = two_layers(DType::F32);
        let (train, _) = loaders(0, 0);
        let config = TrainConfig {
            chunks,
            max_steps: Some(5),
            ..recipe(1)
        };
        Trainer::new(config)
            .fit(&model, &store, &train, None)
            .unwrap();
        values(&store)
    };
    for ((name, one), (_, four)) in fit(1).iter().zip(fit(4)) {
        for (a, b) in one.iter().zip(four) {
            assert!((a - b).abs() < 1e-6, "{name}: {a} {b}");
        }
    }
}

/// Running statistics after a step in chunks are those of its first chunk, and dropout's stream is that of the step.
#[test]
fn chunks_depend_on_nothing_but_the_step() {
    let (train, _) = loaders(0, 0);
    let batch = train.epoch(0).next().unwrap().unwrap();
    let step = |chunks: usize, samples: usize, step: usize, drawn: usize| {
        let (net, store) = net(0);
        let generator = store.generator();
        for _ in 0..drawn {
            generator
                .uniform(0.0, 1.0, 7, DType::F32, &Device::Cpu)
                .unwrap();
        }
        let state = generator.state();
        let target = Target::Classes(batch.labels.narrow(0, 0, samples).unwrap());
        let input = StepInput {
            model: &net,
            store: &store,
            loss: &CrossEntropy::default(),
            images: &batch.images.narrow(0, 0, samples).unwrap(),
            target: &target,
            epoch: 0,
            step,
        };
        let output = Chunks::new(chunks, ForwardBackward).step(&input).unwrap();
        assert_eq!(generator.state(), state);
        let buffers: Vec<_> = store.buffers().iter().map(|(_, var)| flat(var)).collect();
        (buffers, flat(&output.logits))
    };
    let (buffers, logits) = step(4, 32, 0, 0);
    assert_eq!(buffers, step(1, 8, 0, 0).0);
    assert_ne!(buffers, step(1, 32, 0, 0).0);
    assert_eq!(step(4, 32, 0, 3).1, logits);
    assert_ne!(step(4, 32, 1, 0).1, logits);
}

/// Ten samples in four chunks, of two and three.
#[test]
fn running_statistics_may_be_the_mean_of_the_chunks() {
    let (train, _) = loaders(0, 0);
    let batch = train.epoch(0).next().unwrap().unwrap();
    let statistics = |from: usize, len: usize, chunks: usize, keep: NormStatistics| {
        let (net, store) = net(0);
        let target = Target::Classes(batch.labels.narrow(0, from, len).unwrap());
        let images = batch.images.narrow(0, from, len).unwrap();
        let input = StepInput {
            model: &net,
            store: &store,
            loss: &CrossEntropy::default(),
            images: &images.contiguous().unwrap(),
            target: &target,
            epoch: 0,
            step: 0,
        };
        let mut step = Chunks::new(chunks, ForwardBackward).with_norm_statistics(keep);
        step.step(&input).unwrap();
        let buffers = store.buffers().into_iter();
        buffers.flat_map(|(_, var)| flat(&var)).collect::<Vec<_>>()
    };
    let (first, mean) = (NormStatistics::First, NormStatistics::Mean);
    let parts = [(0, 2), (2, 3), (5, 2), (7, 3)];
    let alone = parts.map(|(from, len)| (len, statistics(from, len, 1, first)));
    let found = statistics(0, 10, 4, mean);
    assert!(found.len() > 1);
    for (i, found) in found.iter().enumerate() {
        let terms = alone.iter().map(|(len, values)| *len as f64 * values[i]);
        let expected = terms.sum::<f64>() / 10.0;
        assert!((found - expected).abs() < 1e-6, "{i}: {found} {expected}");
    }
    assert_ne!(found, alone[0].1);
    assert_eq!(statistics(0, 10, 4, first), alone[0].1);
    assert_eq!(statistics(0, 10, 1, mean), statistics(0, 10, 1, first));
}

#[test]
fn small_chunks_are_refused_before_a_batch_norm_that_needs_two_values() {
    /// Batch norm over single pixels.
    struct Net([Var; 6]);
    impl ModuleT for Net {
        fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
            let [w, weight, bias, mean, var, head] = &self.0;
            let x = linear(&x.flatten_from(1)?, w, None)?;
            let x = x.unsqueeze(2)?.unsqueeze(3)?;
            let config = tallow_ops::BatchNormConfig::default();
            assert!(train);
            let x = tallow_ops::batch_norm_train(&x, weight, bias, mean, var, &config)?;
            Ok(linear(&x.flatten_from(1)?, head, None)?)
        }
    }
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    let root = store.root();
    let net = Net([
        root.param("w", (4, 64), Init::Const(0.1)).unwrap(),
        root.param("bn.weight", 4, Init::Const(1.0)).unwrap(),
        root.param("bn.bias", 4, Init::Const(0.0)).unwrap(),
        root.buffer("bn.running_mean", 4, Init::Const(0.0)).unwrap(),
        root.buffer("bn.running_var", 4, Init::Const(1.0)).unwrap(),
        root.param("head", (CLASSES, 4), Init::Const(0.1)).unwrap(),
    ]);
    let (train, _) = loaders(0, 0);
    let fit = |chunks: usize| {
        let config = TrainConfig {
            chunks,
            ..recipe(1)
        };
        Trainer::new(config).fit(&net, &store, &train, None)
    };
    // 600 images in batches of 32: the last batch has 24, in 16 chunks some of one.
    let error = fit(16).unwrap_err().to_string();
    assert!(
        error.starts_with("chunks: 16 chunks leave one of a single sample"),
        "{error}"
    );
    fit(8).unwrap();
    // The whole batch has more than one.
    let config = TrainConfig {
        chunks: 16,
        norm_statistics: NormStatistics::Sync,
        ..recipe(1)
    };
    let mut trainer = Trainer::new(config).with_shared_model(&net);
    trainer.fit(&net, &store, &train, None).unwrap();
}
