//! Help is a contract: golden files, for every command.

use baton_cli::arguments::Arguments;
use clap::CommandFactory as _;

#[test]
fn help_of_every_command() {
    let mut all = String::new();
    let mut root = Arguments::command().term_width(100);
    root.build();
    let mut waiting = vec![root];
    while let Some(mut command) = waiting.pop() {
        let name = command.get_display_name().unwrap_or("baton").to_owned();
        all.push_str(&format!("=== {name}\n{}\n", command.render_help()));
        let below: Vec<_> = command.get_subcommands().filter(|sub| !sub.is_hide_set()).cloned().collect();
        waiting.extend(below.into_iter().rev());
    }
    insta::assert_snapshot!("help", all);
}
