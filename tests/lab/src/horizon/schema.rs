//! What is in the databases: tables with keys and sequences, filled to some megabytes each.

use super::appliance::{Appliance, Database, Organization, Side};

/// In every database: what the ledger writes, what canaries are written to, what `av-setup` counts in.
const COMMON: &str = "
create table canary(id text primary key, written_at timestamptz not null default now());
create table ledger_entry(writer text, number bigint, payload text not null, written_at timestamptz not null default now(),
                          primary key (writer, number));
create table ledger_session(id bigserial primary key, writer text not null, number bigint not null, payload text not null);
create table av_setup_run(id serial primary key, host text not null, ran_at timestamptz not null default now());
";

const FDB: &str = "
create table organization(id integer primary key, name text not null unique);
create table appliance(id serial primary key, name text not null unique, organization_id integer not null references organization,
                       address text not null, capabilities integer not null);
create table desktop_pool(id serial primary key, organization_id integer not null references organization, name text not null);
create table virtual_machine(id serial primary key, pool_id integer not null references desktop_pool, name text not null unique,
                             attributes text not null);
create index virtual_machine_pool on virtual_machine(pool_id);
create table session(id bigserial primary key, virtual_machine_id integer not null references virtual_machine,
                     person text not null, started_at timestamptz not null default now());
create table audit_event(id bigserial primary key, happened_at timestamptz not null default now(), detail text not null);
";

const EDB: &str = "
create table element(id serial primary key, kind text not null, name text not null unique, detail text not null);
create table assignment(id serial primary key, element_id integer not null references element, person text not null);
";

const AVDB: &str = "
create table app_stack(id serial primary key, name text not null unique, detail text not null);
create table attachment(id bigserial primary key, app_stack_id integer not null references app_stack, person text not null);
";

/// The two bits of `capabilities` that make an appliance the primary of its organisation.
pub const PRIMARY_CAPABILITIES: i32 = 192;
/// The bits that every appliance has.
const ORDINARY_CAPABILITIES: i32 = 7;

/// The statements that make a database's tables: on both appliances.
pub fn tables(database: Database) -> String {
    let own = match database {
        Database::Fdb => FDB,
        Database::Edb => EDB,
        Database::Avdb => AVDB,
    };
    // The application's own role owns its tables, as in the product; Slony's role is a superuser.
    format!("set role desktone; {COMMON} {own} reset role;")
}

/// The statements that fill a database: on the origin alone. `thousands` of rows in its large tables; one thousand
/// is about half a megabyte.
pub fn rows(database: Database, appliances: &[Appliance], thousands: u32) -> String {
    let many = thousands * 1000;
    match database {
        Database::Fdb => {
            let mut sql = String::from("insert into organization values (1000, 'provider'), (1001, 'tenant');");
            for appliance in appliances {
                let primary = if appliance.side == Side::A { PRIMARY_CAPABILITIES } else { 0 };
                sql += &format!(
                    "insert into appliance(name, organization_id, address, capabilities) values ('{}', {}, '{}', {});",
                    appliance.name,
                    appliance.organization.id(),
                    appliance.address,
                    ORDINARY_CAPABILITIES | primary
                );
            }
            sql + &format!(
                "insert into desktop_pool(organization_id, name) select 1000 + n % 2, 'pool ' || n from generate_series(1, 50) n;
                 insert into virtual_machine(pool_id, name, attributes)
                   select 1 + n % 50, 'vm-' || n, repeat(md5(n::text), 6) from generate_series(1, {many}) n;
                 insert into session(virtual_machine_id, person)
                   select 1 + n % {many}, 'person ' || n % 977 from generate_series(1, {many}) n;
                 insert into audit_event(detail) select repeat(md5(n::text), 5) from generate_series(1, {many}) n;"
            )
        }
        Database::Edb => format!(
            "insert into element(kind, name, detail)
               select 'kind ' || n % 7, 'element ' || n, repeat(md5(n::text), 9) from generate_series(1, {many}) n;
             insert into assignment(element_id, person) select 1 + n % {many}, 'person ' || n % 977 from generate_series(1, {many}) n;"
        ),
        Database::Avdb => format!(
            "insert into app_stack(name, detail)
               select 'stack ' || n, repeat(md5(n::text), 9) from generate_series(1, {many}) n;
             insert into attachment(app_stack_id, person)
               select 1 + n % {many}, 'person ' || n % 977 from generate_series(1, {many}) n;"
        ),
    }
}

/// The appliances that an organisation's own fdb knows: the provider's knows all.
pub fn known_to(organization: Organization, appliances: &[Appliance]) -> Vec<Appliance> {
    let known =
        |appliance: &&Appliance| organization == Organization::Provider || appliance.organization == organization;
    appliances.iter().filter(known).cloned().collect()
}
