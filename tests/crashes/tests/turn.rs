//! The part of the matrix whose turn it is, as the pipeline is to run it. `CRASHES_SLICE` gives the turn to another one.

use std::process::Command;

#[test]
fn whoever_is_killed_in_the_part_whose_turn_it_is_comes_to_the_same_end() {
    let run =
        // Without cargo, which would build what was built before the tests.
        Command::new(env!("CARGO_BIN_EXE_baton-crashes"))
            .args(["--turn", "--jobs", "2"])
            .env_remove("CARGO")
            .output()
            .expect("it runs");
    let (said, table) = (String::from_utf8_lossy(&run.stderr), String::from_utf8_lossy(&run.stdout));
    // Which part it was, also where all is well.
    println!("{said}\n{table}");
    assert!(run.status.success(), "{said}\n{table}");
    // What ran, and not only that nothing failed.
    assert!(table.contains(" 0 red") && !table.contains(" 0 green"), "{table}");
}
