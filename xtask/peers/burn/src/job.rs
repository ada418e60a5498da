//! Prepared benchmark.

use std::time::Instant;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use serde_json::Value;

use crate::networks::{Net, network};

/// A network with a batch of noise.
pub struct Job {
    net: Net,
    images: Tensor<4>,
    /// None for inference.
    training: Option<Training>,
}

struct Training {
    labels: Tensor<1, Int>,
    optimizer: ModuleOptimizer,
    lr: f64,
}

impl Job {
    /// Makes a case ready; returns the number of trained values too.
    pub fn new(case: &Value) -> Result<(Self, usize), String> {
        let work = &case["work"];
        if work["is"] != "network" {
            return Err("burn has nothing to compare with here".to_string());
        }
        let name = case["name"].as_str().ok_or("a case without a name")?;
        let batch = size(&case["batch"])?;
        let [c, h, w] = [0usize, 1, 2].map(|axis| size(&work["input"][axis]));
        let is_training = case["kind"] == "step";
        let device = match is_training {
            true => Device::flex().autodiff(),
            false => Device::flex(),
        };
        let (net, running) = network(name, &device)?;
        // burn counts the running statistics of batch norms too.
        let parameters = net.num_params() - running;
        let images =
            Tensor::<4>::random([batch, c?, h?, w?], Distribution::Normal(0.0, 1.0), &device);
        let training = match is_training {
            true => Some(Training::new(&work["optimizer"], batch, &device)?),
            false => None,
        };
        let job = Self {
            net,
            images,
            training,
        };
        Ok((job, parameters))
    }

    /// Runs it so many times; returns it with the seconds of each.
    pub fn run(self, steps: u64) -> Result<(Self, Vec<f64>), String> {
        let Self {
            mut net,
            images,
            mut training,
        } = self;
        let mut seconds = Vec::new();
        let mut last: Option<TensorData> = None;
        let loss = CrossEntropyLossConfig::new().init(&images.device());
        for step in 1..=steps {
            let started = Instant::now();
            let result = match &mut training {
                Some(training) => {
                    let logits = net.forward(images.clone());
                    let loss = loss.forward(logits, training.labels.clone());
                    let grads = GradientsParams::from_grads(loss.clone().backward(), &net);
                    net = training.optimizer.step(training.lr, net, grads);
                    loss
                }
                None => {
                    let logits = net.forward(images.clone());
                    logits.flatten(0, 1)
                }
            };
            seconds.push(started.elapsed().as_secs_f64());
            if step == steps {
                last = Some(result.into_data());
            }
        }
        let is_finite = |data: TensorData| data.iter::<f32>().all(f32::is_finite);
        if !last.is_none_or(is_finite) {
            return Err("a loss or an output is not finite".to_string());
        }
        let job = Self {
            net,
            images,
            training,
        };
        Ok((job, seconds))
    }
}

impl Training {
    fn new(config: &Value, batch: usize, device: &Device) -> Result<Self, String> {
        let number = |key: &str| config[key].as_f64();
        let optimizer = match config["name"].as_str() {
            Some("sgd") => {
                let momentum = MomentumConfig::new()
                    .with_momentum(number("momentum").unwrap_or(0.0))
                    .with_dampening(0.0);
                SgdConfig::new().with_momentum(Some(momentum)).init()
            }
            Some("adam") => AdamConfig::new().init(),
            _ => return Err(format!("burn has no optimizer like {config}")),
        };
        let labels: Vec<i32> = (0..batch as i32).map(|i| i * 7 % 10).collect();
        Ok(Self {
            labels: Tensor::from_data(TensorData::new(labels, [batch]), device),
            optimizer,
            lr: number("lr").ok_or("an optimizer without a rate")?,
        })
    }
}

fn size(value: &Value) -> Result<usize, String> {
    let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
    size.ok_or_else(|| format!("expected a size, found {value}"))
}
