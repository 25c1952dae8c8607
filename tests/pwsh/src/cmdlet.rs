//! The cmdlets (names, parameters and values as their pages in office-docs-powershell have them). There is no
//! `Get-CsPersistentChatActiveServer`.

use serde_json::{Value, json};

use crate::{
    parameter::{Bound, Kind},
    script::Call,
    world::{Mirror, Pool, State},
};

/// The error's text, and its FullyQualifiedErrorId.
pub type Error = (String, String);

const STATES: Kind = Kind::Of(&["Normal", "FailedOver"]);
const TYPES: Kind = Kind::Of(&[
    "Application",
    "CentralMgmt",
    "Archiving",
    "Monitoring",
    "User",
    "Edge",
    "BIStaging",
    "PersistentChat",
    "PersistentChatCompliance",
]);
const ACTS: &[(&str, Kind)] = &[("Confirm", Kind::Switch), ("WhatIf", Kind::Switch)];

pub fn invoke(call: &Call, state: &mut State) -> Result<Value, Error> {
    let known = |own: &[(&'static str, Kind)], acts: bool| {
        own.iter().copied().chain(ACTS.iter().copied().filter(|_| acts)).collect::<Vec<_>>()
    };
    if call.modules.is_empty() {
        return Err(unknown(&call.cmdlet));
    }
    // Names of commands are compared without regard to case.
    match call.cmdlet.to_ascii_lowercase().as_str() {
        "get-cspersistentchatstate" => {
            let own = [("Identity", Kind::Text), ("Filter", Kind::Text), ("LocalStore", Kind::Switch)];
            let bound = Bound::of(call, &known(&own, false))?;
            let pools = selected(state, bound.text("Identity"), call)?;
            Ok(list(pools.iter().map(|pool| {
                json!({
                    "Identity": format!("PersistentChatServer:{}", pool.fqdn), "PoolState": pool.state,
                })
            })))
        }
        "set-cspersistentchatstate" => {
            let own = [("Identity", Kind::Text), ("PoolState", STATES), ("Force", Kind::Switch)];
            let bound = Bound::of(call, &known(&own, true))?;
            confirmed(&bound, call)?;
            let fqdn = one(state, bound.required("Identity", call)?, call)?.fqdn.clone();
            let wished = canonical(bound.text("PoolState").unwrap_or("Normal"), &["Normal", "FailedOver"]);
            if !bound.switch("WhatIf") {
                pool(state, &fqdn).state = wished;
            }
            Ok(Value::Null)
        }
        "set-cspersistentchatactiveserver" => set_active(
            call,
            state,
            &known(
                &[
                    ("Identity", Kind::Text),
                    ("ActiveServers", Kind::ListModifier),
                    ("Swap", Kind::Switch),
                    ("Force", Kind::Switch),
                ],
                true,
            ),
        ),
        "get-csservice" => {
            let own = [("Identity", Kind::Text), ("PersistentChatServer", Kind::Switch), ("PoolFqdn", Kind::Text)];
            let bound = Bound::of(call, &known(&own, false))?;
            if !bound.switch("PersistentChatServer") {
                return Ok(Value::Null);
            }
            let wanted = bound.text("PoolFqdn");
            let pools =
                state.pools.iter().filter(|pool| wanted.is_none_or(|fqdn| fqdn.eq_ignore_ascii_case(&pool.fqdn)));
            Ok(list(pools.map(service)))
        }
        "install-csmirrordatabase" => install_mirror(
            call,
            state,
            &known(
                &[
                    ("ConfiguredDatabases", Kind::Switch),
                    ("DatabaseType", TYPES),
                    ("FileShare", Kind::Text),
                    ("SqlServerFqdn", Kind::Text),
                    ("SqlInstanceName", Kind::Text),
                    ("ForDefaultInstance", Kind::Switch),
                    ("ForInstance", Kind::Text),
                    ("ExcludeDatabaseList", Kind::ListModifier),
                    ("DatabasePathMap", Kind::Hashtable),
                    ("DropExistingDatabasesOnMirror", Kind::Switch),
                    ("Report", Kind::Text),
                ],
                true,
            ),
        ),
        "uninstall-csmirrordatabase" => uninstall_mirror(
            call,
            state,
            &known(
                &[
                    ("DatabaseType", TYPES),
                    ("SqlServerFqdn", Kind::Text),
                    ("SqlInstanceName", Kind::Text),
                    ("DropExistingDatabasesOnMirror", Kind::Switch),
                    ("Report", Kind::Text),
                ],
                true,
            ),
        ),
        "get-csdatabasemirrorstate" => {
            let own = [("PoolFqdn", Kind::Text), ("DatabaseType", TYPES), ("LocalStore", Kind::Switch)];
            let bound = Bound::of(call, &known(&own, false))?;
            let fqdn = one(state, bound.required("PoolFqdn", call)?, call)?.fqdn.clone();
            let wanted = bound.text("DatabaseType").unwrap_or("PersistentChat").to_owned();
            let sql = place(pool(state, &fqdn));
            let mirror = state.mirrors.iter().find(|mirror| mirror.principal == sql && mirror.database_type == wanted);
            Ok(mirror_state(mirror, &wanted))
        }
        "invoke-csdatabasefailover" => fail_over(
            call,
            state,
            &known(
                &[
                    ("PoolFqdn", Kind::Text),
                    ("DatabaseType", TYPES),
                    ("NewPrincipal", Kind::Of(&["Primary", "Mirror"])),
                    ("ExcludeDatabaseList", Kind::ListModifier),
                    ("Force", Kind::Switch),
                    ("LocalStore", Kind::Switch),
                    ("Report", Kind::Text),
                ],
                true,
            ),
        ),
        _ => Err(unknown(&call.cmdlet)),
    }
}

fn set_active(call: &Call, state: &mut State, known: &[(&'static str, Kind)]) -> Result<Value, Error> {
    let bound = Bound::of(call, known)?;
    confirmed(&bound, call)?;
    let fqdn = one(state, bound.required("Identity", call)?, call)?.fqdn.clone();
    let pool = pool(state, &fqdn);
    let texts = |value: &Value| -> Vec<String> {
        match value {
            Value::String(text) => vec![text.clone()],
            Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    };
    let mut active = pool.active.clone();
    match bound.given("ActiveServers") {
        Some(Value::Object(map)) => {
            for (key, value) in map {
                let named = texts(value);
                match key.to_ascii_lowercase().as_str() {
                    "add" => active.extend(named),
                    "remove" => active.retain(|server| !named.iter().any(|name| name.eq_ignore_ascii_case(server))),
                    _ => active = named,
                }
            }
        }
        Some(value) => active = texts(value),
        None if bound.switch("Swap") => {
            active = pool.computers.iter().filter(|server| !pool.active.contains(server)).cloned().collect();
        }
        None => {
            return Err((
                "Parameter set cannot be resolved using the specified named parameters.".to_owned(),
                format!("AmbiguousParameterSet,{}", call.cmdlet),
            ));
        }
    }
    if let Some(stranger) = active.iter().find(|name| !pool.computers.iter().any(|own| own.eq_ignore_ascii_case(name)))
    {
        let message = format!("Cannot find computer \"{stranger}\" in the Persistent Chat pool \"{fqdn}\".");
        return Err((message, format!("InvalidComputer,{}", call.cmdlet)));
    }
    active.sort();
    active.dedup();
    if !bound.switch("WhatIf") {
        pool.active = active;
    }
    Ok(Value::Null)
}

fn install_mirror(call: &Call, state: &mut State, known: &[(&'static str, Kind)]) -> Result<Value, Error> {
    let bound = Bound::of(call, known)?;
    confirmed(&bound, call)?;
    bound.required("FileShare", call)?;
    let principal = reachable(state, bound.required("SqlServerFqdn", call)?, call)?;
    let database_type =
        if bound.switch("ConfiguredDatabases") { "PersistentChat" } else { bound.required("DatabaseType", call)? };
    let of_pool = |pool: &Pool| match () {
        () if pool.primary_sql == principal => pool.primary_mirror.clone(),
        () if pool.backup_sql == principal => pool.backup_mirror.clone(),
        () => None,
    };
    let Some(mirror) = state.pools.iter().find_map(of_pool) else {
        let message = format!("No mirror is defined in the topology for the SQL Server instance \"{principal}\".");
        return Err((message, format!("MirrorNotDefined,{}", call.cmdlet)));
    };
    let mirror = reachable(state, &mirror, call)?;
    if state.mirrors.iter().any(|known| known.principal == principal && known.database_type == database_type)
        && !bound.switch("DropExistingDatabasesOnMirror")
    {
        let message = format!(
            "Database mirroring is already configured on \"{principal}\", and the databases exist on \"{mirror}\"."
        );
        return Err((message, format!("MirrorExists,{}", call.cmdlet)));
    }
    if !bound.switch("WhatIf") {
        state.mirrors.retain(|known| !(known.principal == principal && known.database_type == database_type));
        state.mirrors.push(Mirror { database_type: database_type.to_owned(), principal, mirror, swapped: false });
    }
    Ok(Value::Null)
}

fn uninstall_mirror(call: &Call, state: &mut State, known: &[(&'static str, Kind)]) -> Result<Value, Error> {
    let bound = Bound::of(call, known)?;
    confirmed(&bound, call)?;
    let principal = reachable(state, bound.required("SqlServerFqdn", call)?, call)?;
    let database_type = bound.required("DatabaseType", call)?;
    let is_it = |known: &Mirror| known.principal == principal && known.database_type == database_type;
    if !state.mirrors.iter().any(is_it) {
        let message = format!("Database mirroring is not configured for {database_type} on \"{principal}\".");
        return Err((message, format!("MirrorNotFound,{}", call.cmdlet)));
    }
    if !bound.switch("WhatIf") {
        state.mirrors.retain(|known| !is_it(known));
    }
    Ok(Value::Null)
}

fn fail_over(call: &Call, state: &mut State, known: &[(&'static str, Kind)]) -> Result<Value, Error> {
    let bound = Bound::of(call, known)?;
    confirmed(&bound, call)?;
    let fqdn = one(state, bound.required("PoolFqdn", call)?, call)?.fqdn.clone();
    let database_type = bound.required("DatabaseType", call)?;
    let to_mirror = bound.required("NewPrincipal", call)?.eq_ignore_ascii_case("Mirror");
    let sql = place(pool(state, &fqdn));
    let found = state.mirrors.iter_mut().find(|known| known.principal == sql && known.database_type == database_type);
    let Some(mirror) = found else {
        let message = format!("Database mirroring is not configured for {database_type} on \"{sql}\".");
        return Err((message, format!("MirrorNotFound,{}", call.cmdlet)));
    };
    if !bound.switch("WhatIf") {
        mirror.swapped = to_mirror;
    }
    Ok(Value::Null)
}

fn mirror_state(mirror: Option<&Mirror>, database_type: &str) -> Value {
    let none = "DatabaseInaccessibleOrMirroringNotEnabled";
    let (primary, other) = match mirror {
        Some(mirror) if mirror.swapped => ("Mirror", "Principal"),
        Some(_) => ("Principal", "Mirror"),
        None => (none, none),
    };
    let status = if mirror.is_some() { "synchronized" } else { none };
    json!({
        "DatabaseName": if database_type == "PersistentChat" { "mgc" } else { "mgccomp" },
        "StateOnPrimary": primary, "StateOnMirror": other,
        "MirroringStatusOnPrimary": status, "MirroringStatusOnMirror": status,
    })
}

fn service(pool: &Pool) -> Value {
    json!({
        "Identity": format!("PersistentChatServer:{}", pool.fqdn), "PoolFqdn": pool.fqdn, "Role": "PersistentChatServer",
        "PersistentChatDatabase": format!("PersistentChatDatabase:{}", pool.primary_sql),
        "BackupPersistentChatDatabase": format!("PersistentChatDatabase:{}", pool.backup_sql),
        "ActiveServers": pool.active,
    })
}

/// Where the pool's database is in its present state.
fn place(pool: &Pool) -> String {
    if pool.state == "FailedOver" { pool.backup_sql.clone() } else { pool.primary_sql.clone() }
}

/// A cmdlet that changes something asks for confirmation unless told not to; with -NonInteractive that is an error.
fn confirmed(bound: &Bound<'_>, call: &Call) -> Result<(), Error> {
    if bound.given("Confirm") == Some(&Value::Bool(false)) || bound.switch("Force") || bound.switch("WhatIf") {
        return Ok(());
    }
    let message =
        "Windows PowerShell is in NonInteractive mode. Read and Prompt functionality is not available.".to_owned();
    Err((message, format!("InvalidOperation,{}", call.cmdlet)))
}

fn one<'a>(state: &'a State, identity: &str, call: &Call) -> Result<&'a Pool, Error> {
    let fqdn = identity.split_once(':').map_or(identity, |(kind, fqdn)| match kind.to_ascii_lowercase().as_str() {
        "service" | "persistentchatserver" => fqdn,
        _ => identity,
    });
    state.pools.iter().find(|pool| pool.fqdn.eq_ignore_ascii_case(fqdn)).ok_or_else(|| {
        (format!("Cannot find item \"{identity}\" in the topology."), format!("ItemNotFound,{}", call.cmdlet))
    })
}

fn selected(state: &State, identity: Option<&str>, call: &Call) -> Result<Vec<Pool>, Error> {
    match identity {
        Some(identity) => Ok(vec![one(state, identity, call)?.clone()]),
        None => Ok(state.pools.clone()),
    }
}

fn pool<'a>(state: &'a mut State, fqdn: &str) -> &'a mut Pool {
    state.pools.iter_mut().find(|pool| pool.fqdn == fqdn).expect("it was found a moment ago")
}

fn reachable(state: &State, fqdn: &str, call: &Call) -> Result<String, Error> {
    state.sql_servers.iter().find(|known| known.eq_ignore_ascii_case(fqdn)).cloned().ok_or_else(|| {
        let message = format!(
            "Cannot connect to the SQL Server instance \"{fqdn}\". Verify that the instance is running and that you have permission."
        );
        (message, format!("SqlConnection,{}", call.cmdlet))
    })
}

fn canonical(text: &str, names: &[&str]) -> String {
    names.iter().find(|name| name.eq_ignore_ascii_case(text)).copied().unwrap_or(text).to_owned()
}

fn unknown(cmdlet: &str) -> Error {
    let message = format!(
        "The term '{cmdlet}' is not recognized as the name of a cmdlet, function, script file, or operable program. Check the spelling of \
         the name, or if a path was included, verify that the path is correct and try again."
    );
    (message, "CommandNotFoundException,Microsoft.PowerShell.Commands.GetCommandCommand".to_owned())
}

/// As a pipeline gives them: nothing, one, or a list.
fn list(items: impl Iterator<Item = Value>) -> Value {
    let mut items: Vec<Value> = items.collect();
    match items.len() {
        0 => Value::Null,
        1 => items.remove(0),
        _ => Value::Array(items),
    }
}
