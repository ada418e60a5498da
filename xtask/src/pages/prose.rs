//! Blocks that tell: how it was run, what was said, what is claimed, and the overview of all experiments.

use std::path::Path;

use anyhow::Result;
use tallow_record::{ClaimResult, Results, Verdict};

use super::format::Format;
use super::language::Language;
use super::page::Page;
use super::tables::{Table, count_of_threads};

/// Command, data and environment of the runs.
pub fn setup(results: &Results, language: Language) -> Result<String> {
    let environment = &results.environment;
    let mut seeds: Vec<u64> = results
        .variants
        .iter()
        .flat_map(|variant| variant.seeds.clone())
        .collect();
    seeds.sort_unstable();
    seeds.dedup();
    let one = seeds.len() == 1;
    let seeds = language.list(&seeds.iter().map(u64::to_string).collect::<Vec<_>>());
    let digest = short(&results.dataset.digest);
    let test_digest = short(results.dataset.test_digest.as_deref().unwrap_or_default());
    let time = match results.seconds {
        seconds if seconds < 120.0 => Format::Seconds.show(seconds, language),
        seconds if seconds < 7200.0 => Format::Minutes.show(seconds, language),
        seconds => {
            let hours = format!("{:.1}", seconds / 3600.0);
            language.pick(format!("{hours} h"), format!("{hours} 小时"))
        }
    };
    let commit = environment.commit.as_deref().map(commit);
    let device = match environment.device.as_str() {
        "cpu" => String::new(),
        device => language.pick(format!(" ({device})"), format!("（{device}）")),
    };
    let (command, provenance, cpu) = (
        &results.command,
        &results.dataset.provenance,
        &environment.cpu,
    );
    let (tallow, threads) = (
        &environment.tallow,
        count_of_threads(environment.threads, language),
    );
    Ok(match language {
        Language::English => format!(
            "Run with `{command}` on {provenance} (SHA-256 of the training data `{digest}`, of the test data `{test_digest}`), \
             by Tallow {tallow}{} on {cpu}{device}, {threads}, {} {seeds}; {time} in all.",
            commit.map_or(String::new(), |commit| format!(" at commit `{commit}`")),
            if one { "seed" } else { "seeds" },
        ),
        Language::Chinese => format!(
            "运行命令：`{command}`；数据：{provenance}（SHA-256：训练数据 `{digest}`，测试数据 `{test_digest}`）；\
             Tallow {tallow}{}；{cpu}{device}，{threads}；种子 {seeds}；总用时 {time}。",
            commit.map_or(String::new(), |commit| format!("，提交 `{commit}`")),
        ),
    })
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// The first twelve digits, and whether files were changed.
pub fn commit(commit: &str) -> String {
    match commit.strip_suffix("-dirty") {
        Some(clean) => format!("{}-dirty", short(clean)),
        None => short(commit).to_string(),
    }
}

/// Published statements, their verdicts, and the figures of their checks.
pub fn statements(results: &Results, language: Language) -> Result<String> {
    if results.statements.is_empty() {
        return Ok(language
            .pick("*No statement is on record.*", "*没有记录任何论断。*")
            .to_string());
    }
    let headings = language.pick(
        [
            "statement",
            "verdict",
            "what decides it [bounds of the difference]",
        ],
        ["论断", "结论", "判定依据 [差的置信界]"],
    );
    let mut table = Table::new(&headings.map(str::to_string), 3);
    for statement in &results.statements {
        let checks: Vec<String> = statement
            .checks
            .iter()
            .map(|check| decided(check, language))
            .collect();
        table.row(&[
            language.pick(&statement.text, &statement.zh).clone(),
            format!("**{}**", language.verdict(statement.verdict)),
            checks.join("<br>"),
        ]);
    }
    Ok(table.finish())
}

/// ✓ `cnn - fc > 0.01`: 0.0934 > 0.0100 [0.0801, 0.0867].
fn decided(check: &ClaimResult, language: Language) -> String {
    let (text, verdict) = (&check.text, check.verdict());
    let mark = match verdict {
        Verdict::Holds => "✓",
        Verdict::DoesNotHold => "✗",
        Verdict::NotJudged => {
            let verdict = language.verdict(verdict);
            let colon = language.pick(": ", "：");
            return format!("`{text}`{colon}{verdict}");
        }
        _ => "?",
    };
    let (figures, intervals) = (&check.figures, check.intervals());
    language.pick(
        format!("{mark} `{text}`: {figures}{intervals}"),
        format!("{mark} `{text}`：{figures}{intervals}"),
    )
}

/// Claims and their verdicts.
pub fn claims(results: &Results, language: Language) -> Result<String> {
    if results.claims.is_empty() {
        return Ok(language
            .pick("*Nothing is claimed.*", "*没有需要检查的断言。*")
            .to_string());
    }
    let headings = language.pick(
        ["claim", "figures [bounds of the difference]", "verdict"],
        ["断言", "数值 [差的置信界]", "结论"],
    );
    let mut table = Table::new(&headings.map(str::to_string), 3);
    for claim in &results.claims {
        let figures = match claim.verdict() {
            Verdict::NotJudged => "—".to_string(),
            _ => format!("{}{}", claim.figures, claim.intervals()),
        };
        table.row(&[
            format!("`{}`", claim.text),
            figures,
            language.verdict(claim.verdict()).to_string(),
        ]);
    }
    Ok(table.finish())
}

/// All experiments in the order of the book.
pub fn summary(page: &Page<'_>) -> Result<String> {
    let language = page.language;
    let mut rows: Vec<(&str, Option<&Results>)> = page.store.all().into_iter().collect();
    rows.sort_by_key(|(name, _)| (page.store.place(name), name.len()));
    let headings = language.pick(
        [
            "experiment",
            "question",
            "tier",
            "what was said of it",
            "what we claim",
        ],
        ["实验", "问题", "规模", "原有论断", "我们的断言"],
    );
    let mut table = Table::new(&headings.map(str::to_string), 5);
    for (name, results) in rows {
        let link = match page.store.page(name, language) {
            Some(path) => format!("[{name}]({})", page.link(&path)),
            None => format!("`{name}`"),
        };
        let question = question(name, results, page);
        let Some(results) = results else {
            let none = || "—".to_string();
            table.row(&[
                link,
                question,
                language.not_run().to_string(),
                none(),
                none(),
            ]);
            continue;
        };
        table.row(&[
            link,
            question,
            tier(&results.tier, language),
            count(
                results.statements.iter().map(|statement| statement.verdict),
                language,
            ),
            count(results.claims.iter().map(ClaimResult::verdict), language),
        ]);
    }
    Ok(table.finish())
}

fn tier(tier: &str, language: Language) -> String {
    match (language, tier) {
        (Language::Chinese, "smoke") => "冒烟",
        (Language::Chinese, "standard") => "标准",
        (Language::Chinese, "full") => "完整",
        (_, tier) => tier,
    }
    .to_string()
}

/// `2 hold, 1 does not hold`.
fn count(verdicts: impl Iterator<Item = Verdict>, language: Language) -> String {
    let verdicts: Vec<Verdict> = verdicts.collect();
    let kinds = [
        Verdict::Holds,
        Verdict::HoldsPartly,
        Verdict::DoesNotHold,
        Verdict::Undecided,
        Verdict::NotJudged,
    ];
    let parts = kinds.into_iter().filter_map(|kind| {
        let count = verdicts.iter().filter(|verdict| **verdict == kind).count();
        let word = match (language, count, kind) {
            (_, 0, _) => return None,
            (Language::Chinese, ..) | (_, 1, _) => language.verdict(kind),
            (_, _, Verdict::Holds) => "hold",
            (_, _, Verdict::HoldsPartly) => "hold partly",
            (_, _, Verdict::DoesNotHold) => "do not hold",
            (_, _, Verdict::Undecided) => "undecided",
            (_, _, Verdict::NotJudged) => "not judged",
        };
        Some(language.pick(format!("{count} {word}"), format!("{word} {count} 条")))
    });
    let parts: Vec<String> = parts.collect();
    match parts.is_empty() {
        true => "—".to_string(),
        false => language.list(&parts),
    }
}

/// In English as the experiment asks it, in Chinese the title of its page.
fn question(name: &str, results: Option<&Results>, page: &Page<'_>) -> String {
    let asked = || match results {
        Some(results) => results.question.clone(),
        None => page.store.question(name).unwrap_or_default(),
    };
    match page.language {
        Language::English => asked(),
        Language::Chinese => page
            .store
            .page(name, page.language)
            .and_then(|path| page.store.title(Path::new(&path)))
            .unwrap_or_else(asked),
    }
}
