//! `cargo model`: the explorations that are too large for a test, one after the other, or those that are named.

use std::process::ExitCode;

use baton_exploration::extents;

fn main() -> ExitCode {
    let named: Vec<String> = std::env::args().skip(1).collect();
    let known = extents::all();
    if let Some(unknown) = named.iter().find(|name| known.iter().all(|one| one.name != **name)) {
        eprintln!("there is no exploration {unknown}; there are:");
        known.iter().for_each(|one| eprintln!("  {}{}", one.name, if one.full { "" } else { " (small)" }));
        return ExitCode::from(2);
    }
    let mut sound = true;
    for one in known.iter().filter(|one| if named.is_empty() { one.full } else { named.iter().any(|n| n == one.name) })
    {
        println!("{}: {:?}", one.name, one.extent);
        let exploration = one.extent.explore();
        println!("{exploration}");
        sound &= exploration.complete;
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
