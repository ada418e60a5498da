//! Answer to the question of an experiment, in one sentence.

use maud::{Markup, html};
use tallow_record::{ClaimResult, Statement, Variant, Verdict};

use super::parts;

/// Most claims that are told one by one.
const TOLD: usize = 3;

/// Sentence on the verdicts and on the best variant, and a list of the claims with their confidence bounds if they are few; `None` without a
/// finished run.
pub fn answer(
    claims: &[ClaimResult],
    statements: &[Statement],
    variants: &[Variant],
) -> Option<Markup> {
    let best = best(variants);
    if claims.is_empty() && statements.is_empty() && best.is_none() {
        return None;
    }
    let told = if claims.len() <= TOLD { claims } else { &[] };
    let claims: Vec<Verdict> = claims.iter().map(ClaimResult::verdict).collect();
    let statements: Vec<Verdict> = statements.iter().map(|s| s.verdict).collect();
    let counted = [
        (claims, "claim", ""),
        (statements, "statement", " of others"),
    ];
    let counted: Vec<String> = (counted.iter())
        .filter(|(verdicts, ..)| !verdicts.is_empty())
        .map(|(verdicts, noun, whose)| counts(verdicts, noun, whose))
        .collect();
    Some(html! {
        p class="answer" {
            strong { "Answer: " }
            (capitalized(&counted.join("; ")))
            @if !counted.is_empty() && best.is_some() { "; " }
            @if let Some(best) = best { (most_accurate(best, variants.len(), counted.is_empty())) }
            "."
        }
        @if !told.is_empty() {
            ul class="told" {
                @for claim in told {
                    li {
                        code { (claim.text) } " " (parts::verdict(claim.verdict()))
                        @if claim.verdict() != Verdict::NotJudged { ": " (claim.figures) (claim.intervals()) }
                    }
                }
            }
        }
    })
}

/// The variant of the highest test accuracy; of equals the first.
fn best(variants: &[Variant]) -> Option<&Variant> {
    let accuracy = |variant: &Variant| Some(variant.metrics.get("test_accuracy")?.mean);
    variants
        .iter()
        .filter(|variant| accuracy(variant).is_some_and(f64::is_finite))
        .reduce(|best, other| {
            if accuracy(other) > accuracy(best) {
                other
            } else {
                best
            }
        })
}

fn most_accurate(best: &Variant, variants: usize, first: bool) -> String {
    let accuracy = parts::percents(best.metrics.get("test_accuracy").cloned());
    let seeds = match best.seeds.len() {
        1 => "with one seed".to_string(),
        seeds => format!("over {seeds} seeds"),
    };
    let (name, the) = (&best.name, if first { "The" } else { "the" });
    match variants {
        1 => format!("{the} test accuracy of {name} is {accuracy} {seeds}"),
        _ => format!("{the} best test accuracy is that of {name}, {accuracy} {seeds}"),
    }
}

/// `of 4 claims, 3 hold and 1 is undecided`.
fn counts(verdicts: &[Verdict], noun: &str, whose: &str) -> String {
    let total = verdicts.len();
    let kinds = [
        (Verdict::Holds, "holds", "hold"),
        (Verdict::HoldsPartly, "holds partly", "hold partly"),
        (Verdict::DoesNotHold, "does not hold", "do not hold"),
        (Verdict::Undecided, "is undecided", "are undecided"),
        (Verdict::NotJudged, "is not judged", "are not judged"),
    ];
    let found = kinds.map(|(kind, one, more)| {
        let count = verdicts.iter().filter(|&&verdict| verdict == kind).count();
        (count, if count == 1 { one } else { more })
    });
    let found: Vec<(usize, &str)> = found.into_iter().filter(|(count, _)| *count > 0).collect();
    match found[..] {
        [(1, verb)] => format!("the {noun}{whose} {verb}"),
        // Not "all do not hold", which can be read in two ways.
        [(_, "do not hold")] => format!("none of the {total} {noun}s{whose} holds"),
        [(_, verb)] => format!("all {total} {noun}s{whose} {verb}"),
        _ => {
            let each: Vec<String> = (found.iter())
                .map(|(count, verb)| format!("{count} {verb}"))
                .collect();
            let (last, others) = each.split_last().map_or(("", &[][..]), |(l, o)| (l, o));
            format!(
                "of {total} {noun}s{whose}, {} and {last}",
                others.join(", ")
            )
        }
    }
}

/// Text with its first letter as at the beginning of a sentence.
pub fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_counted_in_plain_words() {
        use Verdict::{DoesNotHold, Holds, Undecided};
        let claims = |verdicts: &[Verdict]| counts(verdicts, "claim", "");
        assert_eq!(claims(&[Holds]), "the claim holds");
        assert_eq!(claims(&[DoesNotHold; 2]), "none of the 2 claims holds");
        assert_eq!(
            claims(&[Holds, Undecided, Holds]),
            "of 3 claims, 2 hold and 1 is undecided"
        );
        assert_eq!(
            counts(&[Holds, Undecided, DoesNotHold], "statement", " of others"),
            "of 3 statements of others, 1 holds, 1 does not hold and 1 is undecided"
        );
    }
}
