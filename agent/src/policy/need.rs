//! What an action will touch, told from its parameters alone.
//!
//! Apart so that the guard is one list before every observation and every effect, and no action can forget to ask. Where
//! an action finds out more while it works (which executable a name stands for), it asks the policy again itself.

use baton_model::{
    action::{
        Action,
        exec::Command,
        process::Selector,
        service::{Manager, Ready},
        slony::Server,
        sql::Connection,
        wait::Probe,
    },
    text::{Piece, Text},
};

/// One thing to ask the policy for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    Service(String),
    Path(String),
    /// An absolute path.
    Program(String),
    /// A path or a file name.
    Process(String),
    Database {
        host: String,
        port: u16,
        database: String,
    },
    User(String),
    Secret(String),
    /// Of PowerShell.
    Cmdlet(String),
}

/// All of them, in the order of the parameters.
pub fn needs(action: &Action) -> Vec<Need> {
    let mut list = List::default();
    match action {
        Action::ServiceStart(p) => list.service(&p.name, &p.manager, p.ready.as_ref()),
        Action::ServiceStop(p) => list.service(&p.name, &p.manager, None),
        Action::ServiceRestart(p) => list.service(&p.name, &p.manager, p.ready.as_ref()),
        Action::ServiceRunning(p) => list.service(&p.name, &p.manager, p.ready.as_ref()),
        Action::ServiceStopped(p) => list.service(&p.name, &p.manager, None),
        Action::ProcessStop(p) => {
            list.selector(&p.selector());
            p.watchdogs.iter().for_each(|watchdog| list.selector(watchdog));
        }
        // Looking at the list of processes touches nothing.
        Action::ProcessRunning(_) => {}
        Action::FileProperties(p) => {
            list.path(&p.path);
            p.set.values().for_each(|text| list.text(text));
        }
        Action::FileLine(p) => list.path(&p.path),
        Action::FileReplace(p) => list.path(&p.path),
        Action::FileTemplate(p) => {
            list.path(&p.path);
            list.text(&p.content);
        }
        Action::FileCopy(p) => {
            list.path(&p.from);
            list.path(&p.to);
        }
        Action::FileBackup(p) => list.path(&p.path),
        Action::FileRestore(p) => list.path(&p.path),
        Action::ExecRun(p) => {
            list.command(&p.command());
            p.stdin.iter().for_each(|text| list.text(text));
            p.unless.iter().for_each(|command| list.command(command));
            p.creates.iter().for_each(|path| list.path(path));
        }
        Action::SqlExec(p) => list.connection(&p.connection),
        Action::SqlQuery(p) => list.connection(&p.connection),
        Action::SlonyState(p) => list.servers(&[Some(&p.server)], &p.databases),
        Action::SlonyEvidence(p) => list.servers(&[Some(&p.server)], &p.databases),
        Action::SlonyAdvanceSequences(p) => list.servers(&[Some(&p.server)], &p.databases),
        Action::SlonyDrop(p) => list.servers(&[Some(&p.server)], &p.databases),
        Action::SlonyCopy(p) => list.servers(&[Some(&p.from), Some(&p.to)], &p.databases),
        Action::SlonyStart(p) => {
            list.servers(&[Some(&p.server)], &p.databases);
            p.scripts.values().for_each(|script| list.0.push(Need::Program(script.clone())));
            p.user.iter().for_each(|user| list.0.push(Need::User(user.clone())));
        }
        Action::SlonyStop(p) => {
            list.servers(&[Some(&p.server)], &p.databases);
            list.0.push(Need::Process("slon".to_owned()));
            p.watchdogs.iter().for_each(|watchdog| list.0.push(Need::Process(watchdog.clone())));
        }
        Action::SlonyInit(p) => list.servers(&[Some(&p.origin), p.subscriber.as_ref()], &p.databases),
        Action::SlonyJoin(p) => list.servers(&[Some(&p.origin), Some(&p.subscriber)], &p.databases),
        Action::SlonySubscribe(p) => list.servers(&[Some(&p.origin), Some(&p.subscriber)], &p.databases),
        Action::SlonyCaughtUp(p) => list.servers(&[Some(&p.origin), Some(&p.subscriber)], &p.databases),
        Action::SlonyMoveSet(p) => list.servers(&[Some(&p.old_origin), Some(&p.new_origin)], &p.databases),
        Action::SlonyFailover(p) => list.servers(&[Some(&p.failed), Some(&p.backup)], &p.databases),
        Action::SlonyOrigin(p) => list.servers(&[Some(&p.server)], &p.databases),
        Action::SlonyVerify(p) => list.servers(&[Some(&p.origin), p.subscriber.as_ref()], &p.databases),
        Action::SlonyLostRows(p) => list.servers(&[Some(&p.server)], &p.databases),
        Action::ExecPowershell(p) => {
            list.program(std::slice::from_ref(&p.shell));
            let cmdlets = std::iter::once(&p.run).chain(&p.get);
            list.0.extend(cmdlets.map(|cmdlet| Need::Cmdlet(cmdlet.cmdlet.clone())));
        }
        Action::MssqlAgSynchronized(p) => list.group(&p.connection, &p.replicas),
        Action::MssqlAgRole(p) => list.group(&p.connection, &p.replicas),
        Action::MssqlAgSample(p) => list.group(&p.connection, &p.replicas),
        Action::MssqlAgFailover(p) => list.group(&p.connection, &p.replicas),
        Action::MssqlAgForceFailover(p) => list.group(&p.connection, &p.replicas),
        Action::MssqlAgResume(p) => list.group(&p.connection, &p.replicas),
        Action::MssqlAgSuspend(p) => list.group(&p.connection, &p.replicas),
        Action::MssqlAgSetMode(p) => list.group(&p.connection, &p.replicas),
        Action::MssqlAgAdd(p) => list.group(&p.connection, &p.replicas),
        Action::MssqlAgJoin(p) => list.group(&p.connection, &p.replicas),
        Action::MssqlAgLeave(p) => list.group(&p.connection, &p.replicas),
        Action::MssqlBackup(p) => list.database(&p.connection, &p.database),
        Action::MssqlRestore(p) => list.database(&p.connection, &p.database),
        Action::MssqlKillConnections(p) => list.database(&p.connection, &p.database),
        Action::MssqlLogShippingState(p) => list.database(&p.connection, &p.database),
        Action::MssqlLogShippingRemove(p) => list.database(&p.connection, &p.database),
        Action::MssqlLogShippingCopy(p) => {
            list.database(&p.connection, &p.database);
            list.path(&p.source);
            list.path(&p.destination);
        }
        Action::MssqlLogShippingApply(p) => {
            list.database(&p.connection, &p.database);
            list.path(&p.directory);
        }
        Action::MssqlLogShippingRecover(p) => list.database(&p.connection, &p.database),
        Action::MssqlLogShippingPrimary(p) => list.database(&p.connection, &p.database),
        Action::MssqlLogShippingSecondary(p) => list.database(&p.connection, &p.database),
        // Asking a port or a page touches nothing on this host; the authority's file is read.
        Action::WaitTcp(_) => {}
        Action::WaitHttp(p) => p.ca_file.iter().for_each(|path| list.path(path)),
        Action::WaitUntil(p) => list.program(&p.argv),
    }
    list.0
}

#[derive(Default)]
struct List(Vec<Need>);

impl List {
    fn service(&mut self, name: &str, manager: &Manager, ready: Option<&Ready>) {
        self.0.push(Need::Service(name.to_owned()));
        if let Manager::Commands { start, stop, status } = manager {
            [start, stop, status].into_iter().for_each(|command| self.command(command));
        }
        match ready.and_then(|ready| ready.probe.as_ref()) {
            Some(Probe::Command(command)) => self.command(command),
            Some(Probe::Http(page)) => page.ca_file.iter().for_each(|path| self.path(path)),
            Some(Probe::Tcp(_)) | None => {}
        }
        let others = ready.into_iter().flat_map(|ready| &ready.services);
        self.0.extend(others.map(|name| Need::Service(name.clone())));
    }
    fn path(&mut self, path: &str) {
        self.0.push(Need::Path(path.to_owned()));
    }
    fn text(&mut self, text: &Text) {
        if let Text::Pieces { pieces } = text {
            let secrets = pieces.iter().filter_map(|piece| match piece {
                Piece::Secret(name) => Some(Need::Secret(name.clone())),
                Piece::Text(_) => None,
            });
            self.0.extend(secrets);
        }
    }
    fn program(&mut self, argv: &[String]) {
        self.0.push(Need::Program(argv.first().cloned().unwrap_or_default()));
    }
    fn command(&mut self, command: &Command) {
        self.program(&command.argv);
        command.user.iter().for_each(|user| self.0.push(Need::User(user.clone())));
        command.environment.values().for_each(|text| self.text(text));
    }
    /// Without a program, any process would do: that needs the right to all of them.
    fn selector(&mut self, selector: &Selector) {
        self.0.push(Need::Process(selector.program.clone().unwrap_or_else(|| "/**".to_owned())));
    }
    fn connection(&mut self, connection: &Connection) {
        self.0.push(Need::Database {
            host: connection.host.clone(),
            port: connection.port(),
            database: connection.database.clone(),
        });
        connection.password.iter().for_each(|text| self.text(text));
        connection.ca_file.iter().for_each(|path| self.path(path));
    }
    /// An availability group's statements go to each instance's own affairs.
    fn group(&mut self, connection: &Connection, replicas: &[Connection]) {
        self.connection(connection);
        replicas.iter().for_each(|replica| self.connection(replica));
    }
    /// The connection, and the database that the action is about.
    fn database(&mut self, connection: &Connection, database: &str) {
        self.connection(connection);
        if database != connection.database {
            self.0.push(Need::Database {
                host: connection.host.clone(),
                port: connection.port(),
                database: database.to_owned(),
            });
        }
    }
    fn servers(&mut self, servers: &[Option<&Server>], databases: &[String]) {
        for server in servers.iter().copied().flatten() {
            for database in databases {
                self.0.push(Need::Database {
                    host: server.address.clone(),
                    port: server.port,
                    database: database.clone(),
                });
            }
            server.password.iter().for_each(|text| self.text(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn programs_users_paths_and_secrets_of_an_exec_are_all_named() {
        let params = json!({
            "argv": ["/bin/do", "x"], "user": "postgres", "creates": "/srv/done",
            "environment": { "P": { "pieces": [{ "text": "a" }, { "secret": "fdb" }] } },
            "unless": { "argv": ["/bin/test"] },
        });
        let action = Action::parse("exec.run", &params).expect("an action");
        let expected = [
            Need::Program("/bin/do".into()),
            Need::User("postgres".into()),
            Need::Secret("fdb".into()),
            Need::Program("/bin/test".into()),
            Need::Path("/srv/done".into()),
        ];
        assert_eq!(needs(&action), expected);
    }

    #[test]
    fn slony_needs_every_database_on_both_servers() {
        let server = |port: u16| json!({ "name": "a", "address": "127.0.0.1", "port": port, "user": "u" });
        let params =
            json!({ "databases": ["fdb", "edb"], "origin": server(1), "subscriber": server(2), "primary": "a" });
        let action = Action::parse("slony.join", &params).expect("an action");
        assert_eq!(needs(&action).len(), 4);
    }
}
