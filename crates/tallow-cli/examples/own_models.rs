//! The whole command line of `tallow`, with a custom network beside the built-in ones: `model.name = "my-net"` in a recipe.

use std::process::ExitCode;

use tallow_models::nn::Sequential;

fn main() -> ExitCode {
    let mut models = tallow_cli::Registry::default();
    let added = models.register("my-net", |p, config| {
        Sequential::build(p, config.input_shape)
            .conv2d("conv1", 8, 3)
            .relu()
            .max_pool2d(2)
            .flatten()
            .linear("fc", config.classes)
            .finish()
    });
    added.expect("a name that no built-in model has");
    tallow_cli::main(models)
}
