//! The engine and the planner decide; nothing in them may wait, listen or read a clock.

#[test]
fn engine_and_planner_list_no_runtime() {
    let here = env!("CARGO_MANIFEST_DIR");
    for manifest in [format!("{here}/Cargo.toml"), format!("{here}/../planner/Cargo.toml")] {
        let text = std::fs::read_to_string(&manifest).expect(&manifest);
        let dependencies = text.split("[dependencies]").nth(1).expect("dependencies");
        for effectful in ["tokio", "tonic", "openraft", "redb", "rand", "jiff", "baton-platform", "baton-log"] {
            let listed = dependencies.lines().any(|line| line.starts_with(effectful));
            assert!(!listed, "{manifest} lists {effectful}");
        }
    }
}
