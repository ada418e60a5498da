//! Blocks that are charts. The text of each picture is written from the figures, for those who do not see it.

use anyhow::{Context, Result, ensure};
use tallow_record::{GradientRow, Results, Variant, thousands};
use tallow_report::charts::{self, Bar, Curve, GradientPanel, Step};

use super::block::Block;
use super::format::Format;
use super::page::Page;
use super::store::find_metric;
use super::tables::{axis, class_name, first_run, title};

/// A metric over the epochs.
pub fn curves(block: &Block<'_>, variants: &[&Variant], page: &mut Page<'_>) -> Result<String> {
    let metric = find_metric(block.metrics[0])?;
    let curve = |variant: &&Variant| Curve {
        label: variant.name.clone(),
        runs: variant
            .runs
            .iter()
            .map(|run| {
                run.epochs
                    .iter()
                    .map(|epoch| epoch.get(metric.name))
                    .collect()
            })
            .collect(),
    };
    let lines: Vec<Curve> = variants.iter().map(curve).collect();
    let axis = axis(metric);
    let svg = charts::curves(
        &format!("{}: {} by epoch", block.name, axis.title),
        &axis,
        &lines,
    )?;

    let language = page.language;
    let ends = lines.iter().map(|line| {
        let last: Vec<f64> = line
            .runs
            .iter()
            .filter_map(|run| *run.last()?)
            .filter(|v| v.is_finite())
            .collect();
        let mean = last.iter().sum::<f64>() / last.len() as f64;
        let shown = if last.is_empty() {
            "—".to_string()
        } else {
            Format::from(metric.format).show(mean, language)
        };
        format!("{} {shown}", line.label)
    });
    let ends = language.list(&ends.collect::<Vec<_>>());
    let heading = title(metric, language);
    let text = language.pick(
        format!("Curves of the {heading} by epoch. At the end: {ends}."),
        format!("{heading}随轮次变化的曲线。最后：{ends}。"),
    );
    Ok(page.picture(block, &format!("curves-{}", metric.name), svg, &text))
}

/// A metric of each variant.
pub fn bars(block: &Block<'_>, variants: &[&Variant], page: &mut Page<'_>) -> Result<String> {
    let metric = find_metric(block.metrics[0])?;
    let bar = |variant: &&Variant| Bar {
        label: variant.name.clone(),
        value: variant.metrics.get(metric.name).cloned(),
        published: match metric.name {
            "test_accuracy" => variant.published.iter().map(|p| p.test_accuracy).collect(),
            _ => Vec::new(),
        },
    };
    let bars: Vec<Bar> = variants.iter().map(bar).collect();
    let axis = axis(metric);
    let svg = charts::bars(&format!("{}: {}", block.name, axis.title), &axis, &bars)?;

    let language = page.language;
    let each = bars.iter().map(|bar| {
        let value = bar.value.as_ref().map_or("—".to_string(), |value| {
            Format::from(metric.format).statistic(value, language)
        });
        format!("{} {value}", bar.label)
    });
    let each = language.list(&each.collect::<Vec<_>>());
    let heading = title(metric, language);
    let text = language.pick(
        format!("Bars of the {heading}: {each}."),
        format!("{heading}的条形图：{each}。"),
    );
    Ok(page.picture(block, &format!("bars-{}", metric.name), svg, &text))
}

/// Gain of each variant over the one before it.
pub fn waterfall(block: &Block<'_>, variants: &[&Variant], page: &mut Page<'_>) -> Result<String> {
    let metric = find_metric(block.metrics.first().copied().unwrap_or("test_accuracy"))?;
    let step = |variant: &&Variant| Step {
        label: variant.name.clone(),
        value: variant
            .metrics
            .get(metric.name)
            .map(|statistic| statistic.mean),
    };
    let steps: Vec<Step> = variants.iter().map(step).collect();
    let axis = axis(metric);
    let caption = format!("{}: {}, step by step", block.name, axis.title);
    let svg = charts::waterfall(&caption, &axis, &steps)?;

    let language = page.language;
    let each = steps.iter().map(|step| {
        let value = step.value.map_or("—".to_string(), |value| {
            Format::from(metric.format).show(value, language)
        });
        format!("{} {value}", step.label)
    });
    let each = language.list(&each.collect::<Vec<_>>());
    let heading = title(metric, language);
    let text = language.pick(
        format!("The {heading} after each step: {each}."),
        format!("每一步之后的{heading}：{each}。"),
    );
    Ok(page.picture(block, &format!("waterfall-{}", metric.name), svg, &text))
}

/// Confusion matrix.
pub fn confusion(
    block: &Block<'_>,
    results: &Results,
    variant: &Variant,
    page: &mut Page<'_>,
) -> Result<String> {
    let counts = first_run(variant, "a confusion matrix", |run| run.confusion.as_ref())?;
    let title = format!("{}: confusion matrix of {}", block.name, variant.name);
    let svg = charts::confusion(&title, &results.dataset.classes, counts)?;

    let language = page.language;
    let name = &variant.name;
    let text = match charts::worst_pairs(counts, 1).first() {
        None => language.pick(
            format!("Confusion matrix of {name}: no test image is misread."),
            format!("{name} 的混淆矩阵：没有测试图像被认错。"),
        ),
        Some(worst) => {
            let label = class_name(results, worst.label);
            let class = class_name(results, worst.predicted);
            let count = thousands(worst.count);
            language.pick(
                format!("Confusion matrix of {name}. The most frequent mistake: {label} taken for {class}, {count} times."),
                format!("{name} 的混淆矩阵。最常见的错误：把 {label} 认作 {class}，{count} 次。"),
            )
        }
    };
    Ok(page.picture(block, &format!("confusion-{name}"), svg, &text))
}

/// The norm of each layer's gradient at the first step and at the end of training.
pub fn gradients(block: &Block<'_>, variants: &[&Variant], page: &mut Page<'_>) -> Result<String> {
    let mut records: Vec<(&str, &GradientRow, &GradientRow)> = Vec::new();
    for variant in variants {
        let found = first_run(variant, "gradients", |run| run.gradients.as_ref())?;
        let ends = found.first().zip(found.last());
        let (first, last) =
            ends.with_context(|| format!("no run of `{}` has gradients", variant.name))?;
        records.push((&variant.name, first, last));
    }
    ensure!(!records.is_empty(), "{}: there are no variants", block.name);
    let panels = match records[..] {
        // One network: both times in one panel.
        [(name, first, last)] => vec![GradientPanel {
            title: name.to_string(),
            lines: vec![
                ("first step".to_string(), norms(first)),
                (format!("end of epoch {}", last.epoch + 1), norms(last)),
            ],
        }],
        _ => {
            let first = records
                .iter()
                .map(|(name, first, _)| (name.to_string(), norms(first)));
            let last = records
                .iter()
                .map(|(name, _, last)| (name.to_string(), norms(last)));
            vec![
                GradientPanel {
                    title: "at the first step".to_string(),
                    lines: first.collect(),
                },
                GradientPanel {
                    title: "at the end of training".to_string(),
                    lines: last.collect(),
                },
            ]
        }
    };
    let svg = charts::gradients(&format!("{}: gradients by layer", block.name), &panels)?;

    let language = page.language;
    let total = |gradients: &GradientRow| Format::Significant.show(gradients.total, language);
    let each = records.iter().map(|(name, first, last)| {
        language.pick(
            format!("{name} from {} to {}", total(first), total(last)),
            format!("{name} 从 {} 到 {}", total(first), total(last)),
        )
    });
    let each = language.list(&each.collect::<Vec<_>>());
    let text = language.pick(
        format!("Norm of the gradient of each layer, at the first step and at the end of training. Of all layers together: {each}."),
        format!("第一步和训练结束时各层梯度的范数。所有层合计：{each}。"),
    );
    Ok(page.picture(block, "gradients", svg, &text))
}

fn norms(gradients: &GradientRow) -> Vec<Option<f64>> {
    charts::layers(gradients)
        .into_iter()
        .map(|layer| layer.1)
        .collect()
}

/// Histogram of the inputs.
pub fn inputs(block: &Block<'_>, variants: &[&Variant], page: &mut Page<'_>) -> Result<String> {
    let mut rows = Vec::new();
    for variant in variants {
        let inputs = first_run(variant, "figures of its inputs", |run| run.inputs.as_ref())?;
        rows.push((variant.name.clone(), inputs));
    }
    let svg = charts::histograms(&format!("{}: what the network sees", block.name), &rows)?;

    let language = page.language;
    let figures = |values: &[f64]| {
        let show = |value: &f64| format!("{value:.2}").replace("-0.00", "0.00");
        let texts: Vec<String> = values.iter().map(show).collect();
        texts.join(" ").replace('-', "−")
    };
    let each = rows.iter().map(|(name, inputs)| {
        language.pick(
            format!(
                "{name} mean {}, deviation {}",
                figures(&inputs.mean),
                figures(&inputs.std)
            ),
            format!(
                "{name} 均值 {}，标准差 {}",
                figures(&inputs.mean),
                figures(&inputs.std)
            ),
        )
    });
    let each = language.clauses(&each.collect::<Vec<_>>());
    let text = language.pick(
        format!("Histograms of the values that the network sees: {each}."),
        format!("网络所见数值的直方图：{each}。"),
    );
    Ok(page.picture(block, "inputs", svg, &text))
}
