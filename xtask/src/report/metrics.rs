//! The figures that a results file may have, with their names on a page.

use super::format::Format;
use super::language::Language;
use Format::{Count, Number, Percent, Significant, Time, YesNo};

/// A metric.
pub struct Metric {
    /// In results files and marks.
    pub name: &'static str,
    english: &'static str,
    chinese: &'static str,
    /// How it is shown in tables.
    pub format: Format,
}

const fn metric(
    name: &'static str,
    format: Format,
    english: &'static str,
    chinese: &'static str,
) -> Metric {
    Metric {
        name,
        english,
        chinese,
        format,
    }
}

/// All of them.
pub const METRICS: [Metric; 20] = [
    metric("test_accuracy", Percent, "test accuracy", "测试准确率"),
    metric("test_loss", Number(4), "test loss", "测试损失"),
    metric("test_top5", Percent, "among the first five", "前五准确率"),
    metric("train_accuracy", Percent, "training accuracy", "训练准确率"),
    metric("train_loss", Number(4), "training loss", "训练损失"),
    metric(
        "best_test_accuracy",
        Percent,
        "best test accuracy",
        "最佳测试准确率",
    ),
    metric(
        "best_epoch",
        Number(1),
        "best epoch (from 0)",
        "最佳轮次（从 0 起）",
    ),
    metric("images_per_second", Count, "images a second", "每秒图像数"),
    metric("seconds", Time, "time a run", "每次运行用时"),
    metric("parameters", Count, "parameters", "参数量"),
    metric(
        "multiply_adds",
        Count,
        "multiply-adds an image",
        "每张图像的乘加次数",
    ),
    metric("steps", Count, "steps", "步数"),
    metric(
        "gradient_norm_first",
        Significant,
        "gradient norm, first step",
        "第一步的梯度范数",
    ),
    metric(
        "gradient_norm_last",
        Significant,
        "gradient norm, at the end",
        "训练结束时的梯度范数",
    ),
    metric(
        "first_layer_gradient",
        Significant,
        "gradient norm of the first layer",
        "第一层的梯度范数",
    ),
    metric("input_mean", Number(3), "mean of the inputs", "输入均值"),
    metric(
        "input_std",
        Number(3),
        "deviation of the inputs",
        "输入标准差",
    ),
    metric(
        "accepts_other_size",
        YesNo,
        "takes images of other sizes",
        "接受其他尺寸的图像",
    ),
    metric("lr", Significant, "learning rate", "学习率"),
    metric(
        "calibration_error",
        Number(3),
        "calibration error",
        "校准误差",
    ),
];

/// Those of every epoch, over which a curve can be drawn.
pub const EPOCH_METRICS: [&str; 6] = [
    "train_loss",
    "test_loss",
    "train_accuracy",
    "test_accuracy",
    "test_top5",
    "lr",
];

impl Metric {
    /// The metric of this name.
    pub fn find(name: &str) -> Option<&'static Metric> {
        METRICS.iter().find(|metric| metric.name == name)
    }

    /// Its name on a page.
    pub fn heading(&self, language: Language) -> &'static str {
        language.pick(self.english, self.chinese)
    }

    /// The axis that measures it.
    pub fn axis(&self) -> tallow_report::charts::Axis {
        tallow_report::charts::Axis {
            title: self.english.to_string(),
            percent: self.format == Percent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims;

    #[test]
    fn what_is_claimed_can_be_shown() {
        let names = METRICS.iter().map(|metric| metric.name);
        // A curve of it is drawn, and a summary has none.
        let mut shown: Vec<&str> = names.filter(|name| *name != "lr").collect();
        shown.sort_unstable();
        assert_eq!(shown, claims::METRICS);
    }
}
