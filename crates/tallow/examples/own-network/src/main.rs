//! Own dataset, transform, network and loss: trained for two epochs, resumed from the checkpoint up to five, used to predict.
use candle_core::{DType, Device, Tensor, Var};
use tallow::{datasets, prelude::*, train};

struct Halves(DatasetInfo);
#[rustfmt::skip]
impl Dataset for Halves {
    fn info(&self) -> &DatasetInfo { &self.0 }
    fn len(&self) -> usize { 512 }
    fn label(&self, index: usize) -> datasets::Result<u32> { Ok(index as u32 % 2) }
    fn image<'a>(&'a self, i: usize, pixels: &'a mut Vec<u8>) -> datasets::Result<ImageRef<'a>> {
        *pixels = (0..64).map(|p| (i * 7 + p * 5) as u8 / 2 + if p / 32 == i % 2 { 128 } else { 0 }).collect();
        Ok(ImageRef::new(pixels, 1, 8, 8)?)
    }
}

#[derive(Debug)]
struct Invert;
#[rustfmt::skip]
impl Transform for Invert {
    fn name(&self) -> &'static str { "invert" }
    fn apply_f32(&self, image: &mut Image<f32>, _: &mut SampleRng) -> Result<(), Problem> {
        image.data_mut().iter_mut().for_each(|v| *v = 1.0 - *v);
        Ok(())
    }
}

struct Net(Var);
impl candle_nn::ModuleT for Net {
    fn forward_t(&self, images: &Tensor, _train: bool) -> candle_core::Result<Tensor> {
        images.flatten_from(1)?.matmul(&self.0.t()?)
    }
}

struct BrierScore;
impl Loss for BrierScore {
    fn loss(&self, logits: &Tensor, target: &Target) -> train::Result<Tensor> {
        let error = candle_nn::ops::softmax(logits, 1)? - target.probabilities(2)?;
        Ok(error?.sqr()?.mean_all()?)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let transforms = Compose::from_transforms(vec![Box::new(ToTensor), Box::new(Invert)])?;
    let classes = ["upper", "lower"];
    let data = std::sync::Arc::new(Halves(DatasetInfo::new("halves", Split::Train, classes)));
    let loader = DataLoader::new(data.clone(), transforms.clone(), LoaderConfig::default())?;
    for epochs in [2, 5] {
        let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
        let net = Net(store.root().param("weight", (2, 64), Init::Const(0.0))?);
        let config = TrainConfig::new(epochs, OptimizerConfig::sgd(0.1));
        let mut trainer = Trainer::new(config).with_loss(BrierScore).with_checkpoints("checkpoints");
        let history = trainer.fit(&net, &store, &loader, Some(&loader))?;
        let predictor = Predictor::new(net, &Device::Cpu, transforms.clone(), classes, Some((1, 8, 8)))?;
        let image = predictor.prepare_image(data.image(1, &mut vec![])?)?;
        println!("{:?}: {:?}", history.best(), predictor.predict(&[image], 1)?);
    }
    Ok(())
}
