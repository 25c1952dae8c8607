//! The price of a failover: that it is asked for, and that its figures are what the instances really had.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::truth::Ends;
use crate::{
    genesys::{Installation, installation::NAME},
    story::Teller,
};

/// Without an acceptance, and with a wrong name, nothing starts.
pub fn refusals(lab: &Installation, teller: &mut Teller) -> Result<()> {
    let before = lab.cluster.json(&["runs", NAME])?;
    for (what, word, code) in [
        ("refused without acceptance", None, "BTN-0170"),
        ("refused with another name", Some("--accept-data-loss=frame"), "BTN-0171"),
    ] {
        let mut words = vec!["failover", NAME, "--reason", "site 1 has no power", "--yes"];
        words.extend(word);
        let said = lab.cluster.baton(&words)?;
        let (shown, error) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        let last = error.lines().rfind(|line| line.contains("BTN-")).unwrap_or_default().trim().to_owned();
        let all = format!("{shown}{error}");
        let shows = all.contains("what this would lose") && all.contains("NOT SENT");
        teller.check(what, said.status.code() == Some(5) && last.contains(code) && shows, last);
    }
    let after = lab.cluster.json(&["runs", NAME])?;
    teller.check("nothing was started", before == after, format!("{} runs", after.as_array().map_or(0, Vec::len)));
    Ok(())
}

fn known(figure: &Value) -> Option<&Value> {
    figure.get("known").map(|known| &known["value"])
}

fn lsn(figure: &Value) -> Option<i128> {
    known(figure)?.as_str()?.parse().ok()
}

/// Each figure against the truth: the target's is exact, the old primary's is what it was when it was last seen, and the loss is at
/// least what is lost.
pub fn figures(lab: &Installation, teller: &mut Teller, truth: &Ends) -> Result<()> {
    let view = lab.cluster.json(&["plan", NAME, "failover"])?;
    let bill = view.get("bill").filter(|bill| !bill.is_null()).context("the plan has no bill")?;
    let databases = bill["databases"].as_array().cloned().unwrap_or_default();
    teller.check("the bill has every database", databases.len() == truth.0.len(), databases.len().to_string());
    for row in &databases {
        let name = row["name"].as_str().unwrap_or("?");
        let Some(end) = truth.0.get(name) else {
            teller.check(&format!("{name}: the bill"), false, "no such database");
            continue;
        };
        let target = lsn(&row["target"]["log"]);
        let exact = target.is_some_and(|lsn| lsn == end.target.0 || lsn == end.target.1);
        teller.check(
            &format!("{name}: what Node 2 has is exact"),
            exact,
            format!("{target:?}, in truth {:?}", end.target),
        );
        let old = lsn(&row["old"]["log"]);
        let seen = old.is_some_and(|lsn| lsn <= end.old.0.max(end.old.1));
        teller.check(
            &format!("{name}: what Node 1 had is what was seen"),
            seen,
            format!("{old:?}, in truth {:?}", end.old),
        );
        let lost_ms = end.old_commit_ms - end.target_commit_ms;
        let most = row["loss"].get("at_most").map(|loss| (span(&loss["commits"]), span(&loss["since"])));
        // To the thousandth of a second that views have, and the 3.33 ms that they round to.
        let covers = most.is_some_and(|(commits, since)| commits + since + 10 >= lost_ms);
        teller.check(
            &format!("{name}: the loss is at most what the bill says"),
            covers,
            format!("{}, in truth {lost_ms} ms", row["loss"]),
        );
    }
    Ok(())
}

/// Milliseconds of a span in JSON: a number, or words.
fn span(value: &Value) -> i64 {
    if let Some(number) = value.as_i64() {
        return number;
    }
    value.as_str().and_then(|text| text.parse::<baton_model::time::Span>().ok()).map_or(0, |span| span.0 as i64)
}

/// The run keeps what was accepted.
pub fn kept(lab: &Installation, teller: &mut Teller, run: &str) -> Result<()> {
    let view = lab.cluster.json(&["show", run])?;
    let acceptance = &view["accepted_loss"];
    let ok =
        acceptance["typed"] == NAME && acceptance["bill"]["databases"].as_array().is_some_and(|all| !all.is_empty());
    let words = format!(
        "typed {}, {} databases",
        acceptance["typed"],
        acceptance["bill"]["databases"].as_array().map_or(0, Vec::len)
    );
    teller.check("the run keeps the acceptance and its bill", ok, words);
    Ok(())
}
