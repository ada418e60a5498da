use std::fmt::Write;

use crate::confusion::{Average, Report};
use crate::error::{Error, Result};

impl Report {
    /// Table as text, identical to that of `sklearn.metrics.classification_report(digits=digits, zero_division=0)`, except for
    /// classes that are predicted and have no samples.
    ///
    /// It has precision, recall, F1 and support of every class that appears among the labels or the predictions, the
    /// accuracy, and the macro and weighted averages. A class without samples has dashes and is not in the macro average, see
    /// [`ConfusionMatrix`](crate::ConfusionMatrix#classes-without-samples). `names` are the names of all classes, in order.
    ///
    /// ```
    /// use tallow_metrics::ConfusionMatrix;
    ///
    /// let mut confusion = ConfusionMatrix::new(2)?;
    /// confusion.update(&[0, 1, 1], &[0, 1, 0])?;
    /// let text = confusion.report().to_text(&["cat", "dog"], 2)?;
    /// assert!(text.contains("         cat       1.00      0.50      0.67         2\n"));
    /// # Ok::<(), tallow_metrics::Error>(())
    /// ```
    ///
    /// # Errors
    /// Unless there is one name per class.
    pub fn to_text(&self, names: &[impl AsRef<str>], digits: usize) -> Result<String> {
        if names.len() != self.per_class.len() {
            return Err(Error::Unlike {
                what: "classes =",
                expected: self.per_class.len(),
                found: names.len(),
            });
        }
        let appears = self.per_class.iter().zip(names);
        let classes: Vec<_> = appears
            .filter(|(score, _)| score.support + score.predicted > 0)
            .map(|(score, name)| {
                let scores = [score.precision, score.recall, score.f1];
                (name.as_ref(), scores, score.support)
            })
            .collect();
        let longest = classes.iter().map(|(name, ..)| name.chars().count()).max();
        let width = longest.unwrap_or(0).max("weighted avg".len()).max(digits);
        let mut text = format!("{:>width$} ", "");
        for heading in ["precision", "recall", "f1-score", "support"] {
            let _ = write!(text, " {heading:>9}");
        }
        text.push_str("\n\n");
        let row = |text: &mut String, name: &str, scores: [Option<f64>; 3], support: u64| {
            let _ = write!(text, "{name:>width$} ");
            for score in scores {
                let _ = match score {
                    Some(score) => write!(text, " {score:>9.digits$}"),
                    None => write!(text, " {:>9}", "—"),
                };
            }
            let _ = writeln!(text, " {support:>9}");
        };
        for (name, scores, support) in classes {
            row(&mut text, name, scores, support);
        }
        let _ = writeln!(
            text,
            "\n{:>width$}  {:>9} {:>9} {:>9.digits$} {:>9}",
            "accuracy",
            "",
            "",
            self.accuracy.unwrap_or(0.0),
            self.micro_average.support
        );
        let mut average = |name, average: &Average| {
            let scores = [average.precision, average.recall, average.f1].map(Some);
            row(&mut text, name, scores, average.support);
        };
        average("macro avg", &self.macro_average);
        average("weighted avg", &self.weighted_average);
        Ok(text)
    }
}
