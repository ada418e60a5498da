//! Batch norm, with ReLU, addition and pooling.

use crate::call::{Address, Arg, Call, Family, Numbers, by_four, family, kernel};
use crate::partition::{Partition, THREADS};

/// Sizes and numbers of maps in (N, H, W, C).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maps {
    /// Numbers in them.
    pub numbers: Numbers,
    /// Images.
    pub n: usize,
    /// Rows of pixels.
    pub h: usize,
    /// Columns of pixels.
    pub w: usize,
    /// Channels.
    pub c: usize,
}

impl Maps {
    /// Pixels of all images: the values of a channel.
    pub fn pixels(&self) -> usize {
        self.n * self.h * self.w
    }

    /// Elements.
    pub fn elements(&self) -> usize {
        self.pixels() * self.c
    }

    /// Sizes after 2x2 pooling; odd last rows and columns are dropped.
    pub fn pooled(&self) -> Self {
        Self {
            h: self.h / 2,
            w: self.w / 2,
            ..*self
        }
    }

    /// 2x2 squares that cover the maps, those at an odd border not whole.
    fn squares(&self) -> usize {
        self.n * self.h.div_ceil(2) * self.w.div_ceil(2)
    }
}

/// Operations after the normalization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// None.
    Linear,
    /// ReLU.
    Relu,
    /// Addition of a shortcut, then ReLU.
    AddRelu,
    /// ReLU, then the maximum of each 2x2 square.
    ReluPool,
}

/// Mean, scale and shift of each channel: `(y - mean) * scale + shift`. An address of 0 stands for a mean of 0, a scale of 1, a shift of 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Affine {
    /// Mean.
    pub mean: Address,
    /// Scale.
    pub scale: Address,
    /// Shift.
    pub shift: Address,
}

impl Affine {
    fn args(&self) -> [Arg; 3] {
        [self.mean, self.scale, self.shift].map(Arg::Address)
    }
}

/// Constants of a norm: mean, scale, shift and 1 / sigma, `(4, C)` floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constants {
    /// Address of the first.
    pub address: Address,
    /// Channels.
    pub channels: usize,
}

impl Constants {
    /// Number of floats.
    pub fn len(channels: usize) -> usize {
        4 * channels
    }

    fn at(&self, index: usize) -> Address {
        self.address + (4 * index * self.channels) as Address
    }

    /// Mean, scale and shift.
    pub fn affine(&self) -> Affine {
        Affine {
            mean: self.at(0),
            scale: self.at(1),
            shift: self.at(2),
        }
    }

    /// 1 / sigma.
    pub fn inverse(&self) -> Address {
        self.at(3)
    }
}

/// Parameters of a norm, each with a float a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Factor of the normalized values.
    pub weight: Address,
    /// Shift of the normalized values.
    pub bias: Address,
    /// Bias of the convolution before, which was left out of it; 0 for none.
    pub conv_bias: Address,
    /// Running mean.
    pub running_mean: Address,
    /// Running variance.
    pub running_var: Address,
}

/// Launch of a kernel that takes a matrix by its partition.
fn launch(p: &Partition, family: Family, mut args: Vec<Arg>, more: &[u32]) -> Call {
    args.extend([p.rows, p.channels, p.columns, p.depth].map(Arg::U32));
    args.extend(more.iter().copied().map(Arg::U32));
    Call {
        kernel: family.of(p.numbers, p.width == 4),
        grid: p.grid(),
        block: THREADS,
        args,
    }
}

fn addresses(all: &[Address]) -> Vec<Arg> {
    all.iter().copied().map(Arg::Address).collect()
}

/// Partition of the pixels of `maps`. The addresses are those that the kernel reads and writes.
pub fn by_pixel(maps: Maps, of: &[Address]) -> Option<Partition> {
    partition(maps, maps.pixels(), of)
}

fn partition(maps: Maps, rows: usize, of: &[Address]) -> Option<Partition> {
    let four = by_four(maps.c, maps.numbers, of);
    Partition::new(rows, maps.c, maps.numbers, four)
}

/// Partition of the whole 2x2 squares of `maps`.
pub fn by_whole_square(maps: Maps, of: &[Address]) -> Option<Partition> {
    // What is left of the last rows and columns must be addressed too.
    crate::call::count(maps.elements())?;
    partition(maps, maps.pooled().pixels(), of)
}

/// Partition of all 2x2 squares of `maps`, those at an odd border too.
pub fn by_square(maps: Maps, of: &[Address]) -> Option<Partition> {
    crate::call::count(maps.elements())?;
    partition(maps, maps.squares(), of)
}

/// Partial sums of the statistics of each channel of `y`, [`Partition::partial_sums`] doubles.
pub fn statistics(y: Address, partial: Address, p: &Partition) -> Call {
    let args = addresses(&[y, partial]);
    launch(p, family!("norm_statistics"), args, &[])
}

/// Constants of a norm from the partial sums of the statistics, and the running statistics.
pub fn finish(
    partial: Address,
    p: &Partition,
    y: Address,
    parameters: &Parameters,
    (eps, momentum): (f64, f64),
    constants: Address,
) -> Call {
    let Parameters {
        weight,
        bias,
        conv_bias,
        running_mean,
        running_var,
    } = *parameters;
    let mut args = vec![
        Arg::Address(partial),
        Arg::U32(p.blocks()),
        Arg::U32(p.channels),
    ];
    args.extend(addresses(&[
        y,
        weight,
        bias,
        conv_bias,
        running_mean,
        running_var,
    ]));
    args.extend([f64::from(p.rows), eps, momentum].map(Arg::F64));
    args.push(Arg::Address(constants));
    let kernel = kernel!("norm_finish").of(p.numbers);
    finish_call(kernel, p.channels, args)
}

fn finish_call(kernel: &'static str, channels: u32, args: Vec<Arg>) -> Call {
    Call {
        kernel,
        grid: (channels.div_ceil(16), 1),
        block: 512,
        args,
    }
}

/// Constants of a norm from the running statistics. `numbers` are those of the maps, whose other kernels are of the same file.
pub fn constants(
    numbers: Numbers,
    parameters: &Parameters,
    channels: u32,
    eps: f64,
    constants: Address,
) -> Call {
    let Parameters {
        weight,
        bias,
        conv_bias,
        running_mean,
        running_var,
    } = *parameters;
    let mut args = vec![Arg::U32(channels)];
    args.extend(addresses(&[
        weight,
        bias,
        conv_bias,
        running_mean,
        running_var,
    ]));
    args.extend([Arg::F64(eps), Arg::Address(constants)]);
    Call {
        kernel: kernel!("norm_constants").of(numbers),
        grid: (channels.div_ceil(THREADS), 1),
        block: THREADS,
        args,
    }
}

/// `out = tail((y - mean) * scale + shift)`. `out` may be `y`, but not with a pooling. `None` for sizes that the kernels cannot address.
pub fn apply(
    y: Address,
    maps: Maps,
    affine: &Affine,
    tail: Tail,
    shortcut: Address,
    out: Address,
) -> Option<Call> {
    if tail == Tail::ReluPool {
        let p = by_whole_square(maps, &[y, out])?;
        let mut args = addresses(&[y]);
        args.extend(affine.args());
        args.push(Arg::Address(out));
        let sizes = [maps.h as u32, maps.w as u32];
        return Some(launch(&p, family!("norm_apply_pool"), args, &sizes));
    }
    let p = by_pixel(maps, &[y, shortcut, out])?;
    let family = match tail {
        Tail::Linear => family!("norm_apply"),
        Tail::AddRelu => family!("norm_apply_add_relu"),
        Tail::Relu | Tail::ReluPool => family!("norm_apply_relu"),
    };
    let mut args = addresses(&[y, shortcut]);
    args.extend(affine.args());
    args.push(Arg::Address(out));
    Some(launch(&p, family, args, &[]))
}

/// Values that a backward pass reads besides the gradient of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Input of the norm.
    pub y: Address,
    /// Its sizes.
    pub maps: Maps,
    /// Constants of the norm.
    pub affine: Affine,
    /// Operations after it.
    pub tail: Tail,
}

/// Partial sums of the gradient before the tail, `d`, and of `d * (y - mean)`; and the partition, which has their number.
///
/// With [`Tail::AddRelu`], `out` is the output of the forward pass and `masked` gets `d`.
pub fn gradient_sums(
    f: &Forward,
    grad: Address,
    (out, masked): (Address, Address),
    partition: &Partition,
    partial: Address,
) -> Call {
    let maps = f.maps;
    if f.tail == Tail::ReluPool {
        let mut args = addresses(&[f.y, grad]);
        args.extend(f.affine.args());
        args.push(Arg::Address(partial));
        let sizes = [maps.h as u32, maps.w as u32];
        return launch(partition, family!("norm_sums_pool"), args, &sizes);
    }
    let family = match f.tail {
        Tail::Linear => family!("norm_sums"),
        Tail::AddRelu => family!("norm_sums_add_relu"),
        Tail::Relu | Tail::ReluPool => family!("norm_sums_relu"),
    };
    let mut args = addresses(&[f.y, grad, out]);
    args.extend(f.affine.args());
    args.extend(addresses(&[masked, partial]));
    launch(partition, family, args, &[])
}

/// Partition of [`gradient_sums`]. The addresses are those that it reads and writes.
pub fn gradient_partition(f: &Forward, of: &[Address]) -> Option<Partition> {
    match f.tail {
        Tail::ReluPool => by_whole_square(f.maps, of),
        _ => by_pixel(f.maps, of),
    }
}

/// Results of [`gradient_finish`]; 0 leaves one out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// Parts of the gradient that the statistics of the batch take, `(2, C)` floats; left out where the statistics are constants.
    pub through: Address,
    /// Gradient of the norm's weight.
    pub weight: Address,
    /// Gradient of the norm's bias.
    pub bias: Address,
}

/// Gradients of the parameters from the partial sums. `pixels` is the number of values of a channel.
pub fn gradient_finish(
    partial: Address,
    p: &Partition,
    inverse: Address,
    pixels: usize,
    into: &Finished,
) -> Call {
    let args = vec![
        Arg::Address(partial),
        Arg::U32(p.blocks()),
        Arg::U32(p.channels),
        Arg::Address(inverse),
        Arg::F64(pixels as f64),
        Arg::Address(into.through),
        Arg::Address(into.weight),
        Arg::Address(into.bias),
    ];
    let kernel = kernel!("norm_gradient_finish").of(p.numbers);
    finish_call(kernel, p.channels, args)
}

/// Gradient of `y`; `dy` may be `y`. With [`Tail::AddRelu`], `grad` is what [`gradient_sums`] wrote to `masked`.
pub fn gradient(f: &Forward, grad: Address, through: Address, dy: Address) -> Option<Call> {
    let pool = f.tail == Tail::ReluPool;
    let of = [f.y, grad, dy];
    let p = if pool {
        by_square(f.maps, &of)?
    } else {
        by_pixel(f.maps, &of)?
    };
    let family = match f.tail {
        Tail::Linear | Tail::AddRelu => family!("norm_gradient"),
        Tail::Relu => family!("norm_gradient_relu"),
        Tail::ReluPool => family!("norm_gradient_pool"),
    };
    let mut args = addresses(&[f.y, grad]);
    args.extend(f.affine.args());
    args.extend(addresses(&[through, dy]));
    let sizes = [f.maps.h as u32, f.maps.w as u32];
    Some(launch(&p, family, args, if pool { &sizes } else { &[] }))
}
