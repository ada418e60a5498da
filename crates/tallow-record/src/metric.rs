//! Table of metrics.

/// Metric of a run.
///
/// ```
/// use tallow_record::{Better, Metric};
///
/// let loss = Metric::find("test_loss").unwrap();
/// assert_eq!((loss.title, loss.better), ("test loss", Some(Better::Lower)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Name in files and claims.
    pub name: &'static str,
    /// Title in English.
    pub title: &'static str,
    /// Title in Chinese.
    pub title_zh: &'static str,
    /// Direction of improvement; `None` for a metric without one.
    pub better: Option<Better>,
    /// Format of its values in tables.
    pub format: Format,
    /// Source of its variation between runs of the same recipe.
    pub varies: Varies,
    /// Whether it is in each line of `metrics.jsonl` (an [`EpochRow`](crate::EpochRow)).
    pub per_epoch: bool,
    /// Whether it may be in `summary.json`.
    pub in_summary: bool,
}

/// Direction of improvement of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Higher values are better.
    Higher,
    /// Lower values are better.
    Lower,
}

/// Source of the variation of a metric between runs of the same recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Varies {
    /// The recipe determines it: every run has the same value.
    Never,
    /// It depends on the random seed.
    WithSeed,
    /// It depends on the speed of the machine.
    WithTime,
}

/// Format of the values of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Fraction, shown in percent.
    Percent,
    /// Number with this many digits after the decimal point.
    Number(usize),
    /// Number with three significant digits.
    Significant,
    /// Whole number.
    Count,
    /// Duration in seconds.
    Seconds,
    /// 1 for yes, 0 for no.
    YesNo,
}

impl Metric {
    /// Metric of this name.
    pub fn find(name: &str) -> Option<&'static Metric> {
        METRICS.iter().find(|metric| metric.name == name)
    }

    /// Whether a claim may name it: the metrics of a summary.
    pub fn is_claimable(&self) -> bool {
        self.in_summary
    }

    /// Whether a chart over the epochs can show it: the metrics of an epoch that do not depend on the machine's speed.
    pub fn has_curve(&self) -> bool {
        self.per_epoch && self.varies != Varies::WithTime
    }
}

use Better::{Higher, Lower};
use Format::{Count, Number, Percent, Seconds, Significant, YesNo};
use Varies::{Never, WithSeed, WithTime};

/// Metric of each epoch and of the summary.
const EVERYWHERE: (bool, bool) = (true, true);
/// Metric of each epoch alone.
const EPOCH: (bool, bool) = (true, false);
/// Metric of the summary alone.
const SUMMARY: (bool, bool) = (false, true);
/// Metric that is derived from others where it is needed.
const DERIVED: (bool, bool) = (false, false);

const fn metric(
    name: &'static str,
    (title, title_zh): (&'static str, &'static str),
    format: Format,
    better: Option<Better>,
    varies: Varies,
    (per_epoch, in_summary): (bool, bool),
) -> Metric {
    Metric {
        name,
        title,
        title_zh,
        better,
        format,
        varies,
        per_epoch,
        in_summary,
    }
}

/// All metrics that Tallow knows, in the order in which pages list them.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    metric("test_accuracy", ("test accuracy", "测试准确率"), Percent, Some(Higher), WithSeed, EVERYWHERE),
    metric("test_loss", ("test loss", "测试损失"), Number(4), Some(Lower), WithSeed, EVERYWHERE),
    metric("test_top5", ("top-5 accuracy", "前五准确率"), Percent, Some(Higher), WithSeed, EVERYWHERE),
    metric("validation_accuracy", ("validation accuracy", "验证准确率"), Percent, Some(Higher), WithSeed, EVERYWHERE),
    metric("validation_loss", ("validation loss", "验证损失"), Number(4), Some(Lower), WithSeed, EVERYWHERE),
    metric("validation_top5", ("top-5 validation accuracy", "验证前五准确率"), Percent, Some(Higher), WithSeed, EVERYWHERE),
    metric("train_accuracy", ("training accuracy", "训练准确率"), Percent, Some(Higher), WithSeed, EVERYWHERE),
    metric("train_loss", ("training loss", "训练损失"), Number(4), Some(Lower), WithSeed, EVERYWHERE),
    metric("best_test_accuracy", ("best test accuracy", "最佳测试准确率"), Percent, Some(Higher), WithSeed, SUMMARY),
    metric("best_validation_accuracy", ("best validation accuracy", "最佳验证准确率"), Percent, Some(Higher), WithSeed, SUMMARY),
    metric("best_epoch", ("best epoch (from 0)", "最佳轮次（从 0 起）"), Number(1), None, WithSeed, SUMMARY),
    metric("images_per_second", ("images per second", "每秒图像数"), Count, Some(Higher), WithTime, EVERYWHERE),
    metric("seconds", ("time per run", "每次运行用时"), Seconds, Some(Lower), WithTime, EVERYWHERE),
    metric("parameters", ("parameters", "参数量"), Count, None, Never, SUMMARY),
    metric("multiply_adds", ("multiply-adds per image", "每张图像的乘加次数"), Count, None, Never, SUMMARY),
    metric("steps", ("steps", "步数"), Count, None, Never, SUMMARY),
    metric("gradient_norm_first", ("gradient norm, first step", "第一步的梯度范数"), Significant, None, WithSeed, SUMMARY),
    metric("gradient_norm_last", ("gradient norm, last steps", "训练结束时的梯度范数"), Significant, None, WithSeed, SUMMARY),
    metric("first_layer_gradient", ("gradient norm of the first layer", "第一层的梯度范数"), Significant, None, WithSeed, SUMMARY),
    metric("input_mean", ("mean of the inputs", "输入均值"), Number(3), None, WithSeed, SUMMARY),
    metric("input_std", ("standard deviation of the inputs", "输入标准差"), Number(3), None, WithSeed, SUMMARY),
    metric("accepts_other_size", ("accepts other image sizes", "接受其他尺寸的图像"), YesNo, None, Never, SUMMARY),
    metric("lr", ("learning rate", "学习率"), Significant, None, Never, EPOCH),
    metric("calibration_error", ("calibration error", "校准误差"), Number(3), Some(Lower), WithSeed, SUMMARY),
    metric("epochs_to_threshold", ("epochs to threshold", "达到阈值的轮次数"), Number(1), Some(Lower), WithSeed, DERIVED),
    metric("share_of_gemm_peak", ("share of GEMM peak", "占 GEMM 峰值的比例"), Percent, Some(Higher), WithTime, DERIVED),
];
