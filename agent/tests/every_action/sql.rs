//! SQL against a real PostgreSQL server.

use std::path::Path;

use async_trait::async_trait;
use baton_model::time::Span;
use serde_json::{Value, json};

use super::{
    agent::Agent,
    appliances::{PASSWORD, World},
    cycle::go_through,
    row::{Outside, Row, Undo},
};

rows! {
    statements_and_a_question("sql.exec", "sql.query");
}

const SHORT: Span = Span::from_secs(2);

#[async_trait]
impl Outside for World {
    async fn picture(&self, _kept: &Path) -> String {
        let client = self.a.client("fdb").await;
        let rows = client.query("SELECT id, name, capabilities FROM appliance ORDER BY id", &[]).await.expect("rows");
        let line = |row: &tokio_postgres::Row| {
            format!("{} {} {}\n", row.get::<_, i32>(0), row.get::<_, String>(1), row.get::<_, i32>(2))
        };
        rows.iter().map(line).collect()
    }

    async fn spoil(&self) {
        self.a.client("fdb").await.execute("UPDATE appliance SET capabilities = 99", &[]).await.expect("updated");
    }
}

fn connection(world: &World) -> Value {
    json!({ "host": world.a.address, "port": world.a.port, "database": "fdb", "user": "slony", "password": PASSWORD })
}

/// Adds to a column, and says how it is seen that it was added.
fn add(world: &World, difference: i32, wanted: i32) -> Value {
    json!({
        "connection": connection(world),
        "statements": [{ "sql": format!("UPDATE appliance SET capabilities = capabilities + ({difference}) WHERE name = $1"), "params": ["A"], "rows": 1 }],
        "unless": { "sql": format!("SELECT capabilities = {wanted} FROM appliance WHERE name = $1"), "params": ["A"] },
    })
}

async fn statements_and_a_question(exec: &'static str, query: &'static str) {
    let world = World::start().await;
    let undo = Undo::Action("sql.exec", add(&world, -1, 0));
    go_through(&Agent::new(), &Row::changes(exec, add(&world, 1, 1), undo, &world)).await;
    let params = json!({
        "connection": connection(&world), "sql": "SELECT max(capabilities) AS most FROM appliance", "expect": "rows[0].most < 10",
    });
    go_through(&Agent::new(), &Row::checks(query, params, SHORT, &world)).await;
}
