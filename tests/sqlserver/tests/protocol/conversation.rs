//! What is asked and answered, the same through every client.

use baton_sqlserver::answer::{Request, Value};
use baton_sqlserver::tds::{Encryption, Options};
use serde_json::{Value as Json, json};

use crate::authority::Authority;
use crate::clients::{ALL, Answer, Client, Failure, Statement, Target, run};
use crate::toy::{Event, Instance, PASSWORD, USER};

async fn plain() -> Instance {
    Instance::start(Encryption::Available, None).await
}

pub fn target(instance: &Instance) -> Target {
    Target::new(instance.address, USER, PASSWORD)
}

async fn ask(client: Client, instance: &Instance, statements: &[&str]) -> Vec<Result<Answer, Failure>> {
    run(client, &target(instance), statements.iter().copied())
        .await
        .unwrap_or_else(|failure| panic!("{client:?}: {failure:?}"))
}

#[tokio::test]
async fn every_type_and_its_null_arrive() {
    let instance = plain().await;
    let guid = "01020304-0506-0708-090A-0B0C0D0E0F10";
    for client in ALL {
        let answers = ask(client, &instance, &["TYPES"]).await;
        let set = &answers[0].as_ref().unwrap().sets[0];
        let row: std::collections::BTreeMap<&str, &Json> =
            set.columns.iter().map(String::as_str).zip(&set.rows[0]).collect();
        let expected = [
            ("bit", json!(true)),
            ("tinyint", json!(200)),
            ("smallint", json!(-300)),
            ("int", json!(-70_000)),
            ("bigint", json!(1_099_511_627_776_i64)),
            ("float", json!(1.5)),
            ("numeric", json!("-1234567890123456789012345")),
            ("datetime", json!("2026-11-21T03:50:29.123")),
            ("nvarchar", json!("Größe 中 𝄞")),
            ("nvarchar_max", json!("lang ".repeat(5000))),
            ("varchar", json!("für 5 €")),
            ("char", json!("ab   ")),
            ("varbinary", json!("0x0001feff")),
            ("varbinary_max", json!(format!("0x{}", "07".repeat(20_000)))),
            ("guid", json!(guid)),
        ];
        assert_eq!(set.columns.len(), expected.len());
        for (name, value) in expected {
            assert_eq!(row[name], &value, "{client:?} {name}");
        }
        assert_eq!(set.rows[1], vec![Json::Null; set.columns.len()], "{client:?}");
        assert_eq!(set.rows.len(), 2);
    }
}

#[tokio::test]
async fn results_larger_than_packets_arrive_whole() {
    let instance = plain().await;
    for client in ALL {
        let answers = ask(client, &instance, &["ROWS 3000", "BIG 300000", "BIG 0", "BIG 1988", "SELECT 1"]).await;
        let rows = &answers[0].as_ref().unwrap().sets[0].rows;
        assert_eq!(rows.len(), 3000, "{client:?}");
        for (number, row) in rows.iter().enumerate() {
            assert_eq!(row, &vec![json!(number), json!(format!("{number:0200}"))]);
        }
        for (index, length) in [(1, 300_000), (2, 0), (3, 1988)] {
            let text: String = "0123456789".chars().cycle().take(length).collect();
            assert_eq!(answers[index].as_ref().unwrap().value(), &json!(text), "{client:?} {length}");
        }
        assert_eq!(answers[4].as_ref().unwrap().value(), &json!(1));
    }
}

#[tokio::test]
async fn several_result_sets_come_in_order() {
    let instance = plain().await;
    for client in ALL {
        let answers = ask(client, &instance, &["SETS", "NOTHING", "SELECT 2"]).await;
        let sets = &answers[0].as_ref().unwrap().sets;
        // What a count without rows between them looks like is each client's own.
        let shape: Vec<(&str, usize)> = sets.iter().map(|set| (set.columns[0].as_str(), set.rows.len())).collect();
        assert_eq!(shape, [("v", 1), ("empty", 0), ("v", 1)], "{client:?}");
        assert_eq!(sets[2].rows[0][0], json!("last"));
        assert_eq!(answers[1].as_ref().unwrap().sets, [], "{client:?}");
        assert_eq!(answers[2].as_ref().unwrap().value(), &json!(2));
    }
}

#[tokio::test]
async fn errors_carry_number_class_and_text_and_the_session_goes_on() {
    let instance = plain().await;
    for client in ALL {
        let answers =
            ask(client, &instance, &["ERROR", "SELECT 1", "ERRORS", "NONSENSE", "ERROR_AFTER_ROWS", "SELECT 2"]).await;
        let failure = answers[0].as_ref().unwrap_err();
        assert_eq!((failure.errors[0].number, failure.errors[0].class), (50_001, 16), "{client:?}");
        assert!(failure.errors[0].message.contains("it went wrong"), "{client:?}: {failure:?}");
        assert_eq!(answers[1].as_ref().unwrap().value(), &json!(1), "{client:?}");
        let expected = client.shown(&[(4305, 16), (3013, 16)]);
        assert_eq!(answers[2].as_ref().unwrap_err().numbers(), expected, "{client:?}");
        assert_eq!(answers[3].as_ref().unwrap_err().numbers(), [102], "{client:?}");
        assert_eq!(answers[4].as_ref().unwrap_err().numbers(), [1205], "{client:?}");
        assert_eq!(answers[5].as_ref().unwrap().value(), &json!(2), "{client:?}");
    }
}

#[tokio::test]
async fn information_is_no_error() {
    let instance = plain().await;
    for client in ALL {
        let answers = ask(client, &instance, &["INFO"]).await;
        let answer = answers[0].as_ref().unwrap();
        if client != Client::Tiberius {
            assert_eq!(answer.messages, ["hello"], "{client:?}");
        }
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_its_column_is_an_error_and_no_result() {
    let instance = plain().await;
    for client in ALL {
        let answers = ask(client, &instance, &["MISFIT", "SELECT 1"]).await;
        assert_eq!(answers[0].as_ref().unwrap_err().numbers(), [50_000], "{client:?}");
        assert_eq!(answers[1].as_ref().unwrap().value(), &json!(1), "{client:?}");
    }
}

#[tokio::test]
async fn a_refused_login_shows_its_error() {
    let instance = plain().await;
    for client in ALL {
        let mut wrong = target(&instance);
        wrong.password = "wrong".into();
        let failure = run(client, &wrong, ["SELECT 1"]).await.unwrap_err();
        assert_eq!(failure.numbers(), [18456], "{client:?}: {failure:?}");
        assert!(failure.errors[0].message.contains("Login failed for user 'sa'."), "{client:?}: {failure:?}");
        let failure = run(client, &target(&instance).database("gone"), ["SELECT 1"]).await.unwrap_err();
        let number = failure.errors[0].number;
        assert!([4060, 18456].contains(&number), "{client:?}: {failure:?}");
    }
    assert_eq!(instance.toy.events(), []);
}

#[tokio::test]
async fn the_login_says_who_comes() {
    let instance = plain().await;
    for client in ALL {
        run(client, &target(&instance).database("db1"), ["SELECT 1"]).await.unwrap();
        let events = instance.toy.events();
        let login = events.iter().rev().find_map(|event| match event {
            Event::LoggedIn(_, login) => Some(login),
            _ => None,
        });
        let login = login.unwrap();
        assert_eq!((login.user.as_str(), login.password.as_str(), login.database.as_str()), (USER, PASSWORD, "db1"));
        assert!(!login.encrypted && !login.read_only_intent);
    }
}

#[tokio::test]
async fn clients_work_with_what_they_do_on_their_own() {
    let instance = plain().await;
    for client in [Client::PyTds, Client::PyMsSql] {
        let answers = run(client, &target(&instance).defaults(), ["SELECT 1", "ERROR", "SELECT 2"]).await.unwrap();
        assert_eq!(answers[0].as_ref().unwrap().value(), &json!(1), "{client:?}");
        assert_eq!(answers[1].as_ref().unwrap_err().numbers(), [50_001], "{client:?}");
        assert_eq!(answers[2].as_ref().unwrap().value(), &json!(2), "{client:?}");
    }
    let settings = "SET ARITHABORT ON;SET CONCAT_NULL_YIELDS_NULL ON;SET ANSI_NULLS ON;SET ANSI_NULL_DFLT_ON ON;\
        SET ANSI_PADDING ON;SET ANSI_WARNINGS ON;SET ANSI_NULL_DFLT_ON ON;SET CURSOR_CLOSE_ON_COMMIT ON;\
        SET QUOTED_IDENTIFIER ON;SET TEXTSIZE 2147483647;";
    let expected = [
        ["BEGIN TRANSACTION", "SELECT 1", "ERROR", "SELECT 2", "COMMIT TRANSACTION; BEGIN TRANSACTION"].as_slice(),
        &[settings, "BEGIN TRAN", "SELECT 1", "ERROR", "SELECT 2", "COMMIT TRAN", "BEGIN TRAN"],
    ];
    assert_eq!(instance.toy.batches(), expected.concat());
}

#[tokio::test]
async fn verified_tls_works_with_every_client() {
    let authority = Authority::new();
    for encryption in [Encryption::Available, Encryption::Forced] {
        let instance = Instance::start(encryption, Some(authority.server())).await;
        for client in ALL {
            let target = target(&instance).authority(authority.certificate.path());
            let answers = run(client, &target, ["SELECT 1", "BIG 300000"]).await;
            let answers = answers.unwrap_or_else(|failure| panic!("{client:?} {failure:?}"));
            assert_eq!(answers[0].as_ref().unwrap().value(), &json!(1), "{client:?}");
            assert!(answers[1].is_ok(), "{client:?}");
        }
        let encrypted = |event: &Event| matches!(event, Event::LoggedIn(_, login) if !login.encrypted);
        assert!(!instance.toy.events().iter().any(encrypted));
    }
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused_by_every_client() {
    let (ours, other) = (Authority::new(), Authority::new());
    let instance = Instance::start(Encryption::Available, Some(ours.server())).await;
    for client in ALL {
        let target = target(&instance).authority(other.certificate.path());
        let failure = run(client, &target, ["SELECT 1"]).await.unwrap_err();
        assert!(failure.errors.iter().all(|error| error.number != 18456), "{client:?}: {failure:?}");
    }
    assert_eq!(instance.toy.events(), []);
}

#[tokio::test]
async fn parameters_arrive_with_names_and_values() {
    let instance = plain().await;
    let parameters =
        vec![json!(7), json!("größer"), json!(1.5), json!(true), json!("lang".repeat(3000)), json!(1_i64 << 40)];
    for (client, sql) in
        [(Client::Tiberius, "SELECT @P1, @P2, @P3, @P4, @P5, @P6"), (Client::PyTds, "SELECT %s, %s, %s, %s, %s, %s")]
    {
        let statement = Statement::Parameters(sql.into(), parameters.clone());
        let answers = run(client, &target(&instance), [statement]).await.unwrap();
        let rows = &answers[0].as_ref().unwrap().sets[0].rows;
        let names: Vec<&str> = rows.iter().map(|row| row[0].as_str().unwrap()).collect();
        assert_eq!(names, ["@stmt", "@params", "@P1", "@P2", "@P3", "@P4", "@P5", "@P6"], "{client:?}");
        let values: Vec<&str> = rows.iter().skip(2).map(|row| row[1].as_str().unwrap()).collect();
        assert_eq!(values[0], format!("{:?}", Value::Int(7)), "{client:?}");
        assert_eq!(values[1], format!("{:?}", Value::Text("größer".into())), "{client:?}");
        assert_eq!(values[2], format!("{:?}", Value::Float(1.5)), "{client:?}");
        assert_eq!(values[3], format!("{:?}", Value::Bit(true)), "{client:?}");
        assert_eq!(values[4], format!("{:?}", Value::Text("lang".repeat(3000))), "{client:?}");
        assert_eq!(values[5], format!("{:?}", Value::BigInt(1 << 40)), "{client:?}");
    }
}

#[tokio::test]
async fn procedures_by_name_give_rows_status_and_errors() {
    let instance = plain().await;
    for client in [Client::PyTds, Client::PyMsSql] {
        let statements = [
            Statement::Procedure("sp_toy".into(), vec![json!(42), json!("text")]),
            Statement::Procedure("sp_broken".into(), vec![]),
            Statement::Batch("SELECT 1".into()),
        ];
        let answers = run(client, &target(&instance), statements).await.unwrap();
        let answer = answers[0].as_ref().unwrap_or_else(|failure| panic!("{client:?} {failure:?}"));
        let values: Vec<&Json> = answer.sets[0].rows.iter().map(|row| &row[1]).collect();
        assert_eq!(values, [&json!("Int(42)"), &json!("Text(\"text\")")], "{client:?}");
        assert_eq!(answer.status, (client == Client::PyTds).then_some(5), "{client:?}");
        assert_eq!(answers[1].as_ref().unwrap_err().numbers(), [50_002], "{client:?}");
        assert_eq!(answers[2].as_ref().unwrap().value(), &json!(1), "{client:?}");
    }
}

#[tokio::test]
async fn the_current_database_follows_use() {
    let instance = plain().await;
    for client in ALL {
        let answers = ask(client, &instance, &["USE [db1]", "SELECT 1"]).await;
        assert_eq!(answers[1].as_ref().unwrap().value(), &json!(1), "{client:?}");
    }
}

#[tokio::test]
async fn one_session_more_than_allowed_is_refused() {
    let instance = Instance::with(Options { sessions_max: 1, ..Options::default() }).await;
    let first = crate::encryption::connect_plain(&instance).await;
    let failure = run(Client::PyTds, &target(&instance), ["SELECT 1"]).await.unwrap_err();
    assert_eq!(failure.numbers(), [17809]);
    let spid = instance.toy.sessions()[0];
    first.close().await.unwrap();
    instance.toy.until("log out", |events| events.contains(&Event::LoggedOut(spid))).await;
    // The seat is free a moment after the engine has logged the session out.
    for client in ALL {
        let deadline = tokio::time::Instant::now() + crate::toy::DEADLINE;
        while let Err(failure) = run(client, &target(&instance), ["SELECT 1"]).await {
            assert!(tokio::time::Instant::now() < deadline, "{client:?}: {failure:?}");
        }
    }
}

#[tokio::test]
async fn tiberius_transactions_become_statements() {
    let instance = plain().await;
    let mut client = crate::encryption::connect_plain(&instance).await;
    client.begin_transaction().await.unwrap();
    client.simple_query("SELECT 1").await.unwrap().into_results().await.unwrap();
    client.save_transaction("here").await.unwrap();
    client.commit_transaction().await.unwrap();
    client.begin_transaction_with_isolation(tiberius::IsolationLevel::Snapshot).await.unwrap();
    client.rollback_transaction().await.unwrap();
    let expected = [
        "BEGIN TRANSACTION",
        "SELECT 1",
        "SAVE TRANSACTION [here]",
        "COMMIT TRANSACTION",
        "SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRANSACTION",
        "ROLLBACK TRANSACTION",
    ];
    assert_eq!(instance.toy.batches(), expected);
}

#[tokio::test]
async fn output_parameters_and_status_come_back() {
    use tiberius::Command;
    let instance = plain().await;
    let mut client = crate::encryption::connect_plain(&instance).await;
    let mut command = Command::new("sp_toy");
    command.bind_param("@in", 5_i32);
    command.bind_out_param("@out", 6_i32);
    let result = command.exec(&mut client).await.unwrap().into_command_result().await.unwrap();
    assert_eq!(result.return_code(), 5);
    assert_eq!(result.return_values_len(), 1);
    assert!(format!("{result:?}").contains("4711"), "{result:?}");
    let asked = instance.toy.events().into_iter().any(|event| {
        matches!(event, Event::Asked(_, Request::Procedure { name, parameters })
            if name == "sp_toy" && !parameters[0].output && parameters[1].output && parameters[1].value == Value::Int(6))
    });
    assert!(asked);
}

#[tokio::test]
async fn a_routed_login_tells_where_to_go() {
    let instance = plain().await;
    let mut config = crate::encryption::config(&instance, tiberius::EncryptionLevel::NotSupported);
    config.database("routed");
    config.readonly(true);
    match crate::encryption::connect(&instance, config).await {
        Err(tiberius::error::Error::Routing { host, port }) => {
            assert_eq!((host.as_str(), port), ("replica.example", 14_331));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn clients_that_follow_arrive_where_they_are_sent() {
    let (listener, replica) = (plain().await, plain().await);
    listener.toy.route.set(replica.address.port()).unwrap();
    for client in [Client::PyTds, Client::PyMsSql] {
        let answers = run(client, &target(&listener), ["SELECT 1"]).await.unwrap();
        assert_eq!(answers[0].as_ref().unwrap().value(), &json!(1), "{client:?}");
    }
    let logins = replica.toy.events().into_iter().filter(|event| matches!(event, Event::LoggedIn(..))).count();
    assert_eq!((logins, listener.toy.events().len()), (2, 0));
}

#[tokio::test]
async fn read_only_intent_is_passed_on() {
    let instance = plain().await;
    let mut config = crate::encryption::config(&instance, tiberius::EncryptionLevel::NotSupported);
    config.readonly(true);
    let _client = crate::encryption::connect(&instance, config).await.unwrap();
    assert!(matches!(&instance.toy.events()[0], Event::LoggedIn(_, login) if login.read_only_intent));
}
