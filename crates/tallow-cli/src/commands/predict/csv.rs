//! Comma-separated values of predictions (RFC 4180).

use anyhow::{Context, Result};
use csv::Writer;

use super::line::Line;

/// The names of the columns, for the `top` most probable classes.
pub(super) fn header(top: usize) -> Result<String> {
    let mut names = vec!["image".to_string()];
    for number in 1..=top {
        let suffix = match number {
            1 => String::new(),
            number => format!("_{number}"),
        };
        names.push(format!("class{suffix}"));
        names.push(format!("probability{suffix}"));
    }
    record(&names)
}

/// The line of an image. It has as many fields as the header; those for more classes than there are stay empty.
pub(super) fn row(line: &Line, top: usize) -> Result<String> {
    let mut fields = vec![line.image.clone()];
    for class in &line.top {
        fields.push(class.class.clone());
        fields.push(class.probability.to_string());
    }
    fields.resize(1 + 2 * top, String::new());
    record(&fields)
}

fn record(fields: &[String]) -> Result<String> {
    let mut writer = Writer::from_writer(Vec::new());
    writer.write_record(fields)?;
    let bytes = writer.into_inner().context("a line cannot be written")?;
    Ok(String::from_utf8(bytes)?)
}

#[cfg(test)]
mod tests {
    use tallow_experiment::predictor::ClassProbability;

    use super::*;

    #[test]
    fn fields_are_quoted_and_as_many_as_columns() {
        assert_eq!(
            header(2).unwrap(),
            "image,class,probability,class_2,probability_2\n"
        );
        let line = Line {
            image: "a, \"b\".png".into(),
            image_base64: None,
            class: "cat".into(),
            probability: 0.75,
            top: vec![ClassProbability {
                index: 0,
                class: "cat".into(),
                probability: 0.75,
            }],
            preparation: Vec::new(),
            explanation: None,
            model: "cnn".into(),
            weights: "w".into(),
            dataset: "d".into(),
        };
        assert_eq!(row(&line, 2).unwrap(), "\"a, \"\"b\"\".png\",cat,0.75,,\n");
    }
}
