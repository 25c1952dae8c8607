//! Group and runbook files for the tests, written as an operator writes them.

use std::fmt::Write as _;

use crate::World;

/// Hosts of the group `shop`: member a, member b, an application server. `ghost` never has an agent.
pub const HOSTS: [&str; 3] = ["db1", "db2", "app1"];

/// The group `shop` with these runbooks (name, text); applied.
pub fn define(world: &World, runbooks: &[(&str, &str)]) {
    write(world, "", runbooks);
    world.apply("shop");
}

/// Writes the files only. `more`: further lines of the group file.
pub fn write(world: &World, more: &str, runbooks: &[(&str, &str)]) {
    let mut text = String::from(
        "group: shop\ndescription: a shop and its database\nprimary: a\n\
         members:\n  a: { hosts: { database: db1 } }\n  b: { hosts: { database: db2 } }\n\
         roles: { app: app1, ghosts: ghost }\n\
         hosts:\n  db1: { address: 127.0.0.1 }\n  db2: { address: 127.0.0.1 }\n  app1: { address: 127.0.0.1 }\n  ghost: { address: 127.0.0.1 }\n",
    );
    let _ = writeln!(text, "vars: {{ files: {:?} }}", world.path("").display().to_string().trim_end_matches('/'));
    text.push_str(more);
    text.push_str("runbooks:\n");
    for (name, runbook) in runbooks {
        let _ = writeln!(text, "  {name}: {name}.yaml");
        world.write(&format!("{name}.yaml"), runbook);
    }
    world.write("shop.yaml", &text);
}

/// The lines of a step whose program is a gate (see [`World::begun`]); its effect can be seen.
pub fn gate(on: &str, name: &str) -> String {
    format!(
        "on: {on}\n    exec.run: {{ argv: [/bin/sh, \"${{vars.files}}/gate.sh\", \"${{vars.files}}\", \"{name}\"], creates: \"${{vars.files}}/effect.{name}\" }}\n"
    )
}
