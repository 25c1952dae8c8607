//! How sessions end: killed, cut, left, stopped.

use baton_sqlserver::answer::Spid;
use baton_sqlserver::tds::{Encryption, Options};
use futures::TryStreamExt as _;
use tiberius::error::Error;
use tokio::io::AsyncWriteExt as _;

use crate::authority::Authority;
use crate::clients::{ALL, Client, run};
use crate::conversation::target;
use crate::encryption::{config, connect, connect_plain};
use crate::raw::{BATCH, END, LOGIN, PRELOGIN, Raw, batch_body, login_body, packet, prelogin_body};
use crate::toy::{Event, Instance, PASSWORD, USER};

async fn plain() -> Instance {
    Instance::start(Encryption::Available, None).await
}

async fn asked(instance: &Instance) {
    instance.toy.until("ask", |events| events.iter().any(|event| matches!(event, Event::Asked(..)))).await;
}

async fn logged_out(instance: &Instance, spid: Spid) {
    instance.toy.until("log out", |events| events.contains(&Event::LoggedOut(spid))).await;
    let times = instance.toy.events().iter().filter(|event| **event == Event::LoggedOut(spid)).count();
    assert_eq!(times, 1);
}

#[tokio::test]
async fn a_session_killed_at_work_hears_error_596_and_is_closed() {
    let instance = plain().await;
    for client in ALL {
        let target = target(&instance);
        let statements = run(client, &target, ["WAIT", "SELECT 1"]);
        let kill = async {
            let known = instance.toy.events().len();
            instance
                .toy
                .until("ask", |events| {
                    events[known..].iter().any(|event| {
                matches!(event, Event::Asked(_, baton_sqlserver::answer::Request::Batch(text)) if text == "WAIT")
            })
                })
                .await;
            let spid = *instance.toy.sessions().last().unwrap();
            instance.toy.kill(spid);
            spid
        };
        let (answers, spid) = tokio::join!(statements, kill);
        let answers = answers.unwrap();
        let failure = answers[0].as_ref().unwrap_err();
        assert_eq!((failure.numbers(), failure.errors[0].class), (vec![596], 21), "{client:?}: {failure:?}");
        assert_eq!(
            answers[1].as_ref().unwrap_err().errors.iter().find(|error| error.class > 10 && error.number != 596),
            None
        );
        logged_out(&instance, spid).await;
    }
}

#[tokio::test]
async fn an_idle_session_that_is_killed_finds_its_connection_closed() {
    let authority = Authority::new();
    let instance = Instance::start(Encryption::Available, Some(authority.server())).await;
    for level in [tiberius::EncryptionLevel::NotSupported, tiberius::EncryptionLevel::Required] {
        let mut config = config(&instance, level);
        config.trust_cert_ca(authority.certificate.path().to_str().unwrap());
        let mut client = connect(&instance, config).await.unwrap();
        let spid = instance.toy.sessions()[0];
        instance.toy.kill(spid);
        logged_out(&instance, spid).await;
        let error = client.simple_query("SELECT 1").await.unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_breaks_the_connection_after_its_first_rows() {
    let instance = plain().await;
    let mut client = connect_plain(&instance).await;
    let spid = instance.toy.sessions()[0];
    let mut stream = client.simple_query("CUT").await.unwrap();
    let mut rows = 0;
    let error = loop {
        match stream.try_next().await {
            Ok(Some(tiberius::QueryItem::Row(_))) => rows += 1,
            Ok(Some(_)) => {}
            Ok(None) => panic!("the answer has no end"),
            Err(error) => break error,
        }
    };
    assert_eq!(rows, 1);
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    logged_out(&instance, spid).await;
}

#[tokio::test]
async fn a_severe_error_is_heard_and_ends_the_connection() {
    let instance = plain().await;
    for (text, number, class) in [("SEVERE", 823, 24), ("PANIC", 50_000, 20)] {
        let answers = run(Client::Tiberius, &target(&instance), [text, "SELECT 1"]).await.unwrap();
        let failure = answers[0].as_ref().unwrap_err();
        assert_eq!((failure.errors[0].number, failure.errors[0].class), (number, class));
        let failure = answers[1].as_ref().unwrap_err();
        assert_eq!(failure.numbers(), [0], "{failure:?}");
    }
    instance
        .toy
        .until("log out", |events| events.iter().filter(|event| matches!(event, Event::LoggedOut(_))).count() == 2)
        .await;
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_while_its_request_runs() {
    let instance = plain().await;
    for text in ["WAIT", "WAIT ROWS", "ENDLESS"] {
        let mut raw = Raw::log_in(&instance).await;
        let spid = *instance.toy.sessions().last().unwrap();
        raw.send(&packet(BATCH, END, &batch_body(text))).await;
        asked(&instance).await;
        drop(raw);
        instance.toy.until("notice", |events| events.contains(&Event::Abandoned(spid))).await;
        logged_out(&instance, spid).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_also_behind_a_request_that_came_too_early() {
    let instance = plain().await;
    let mut raw = Raw::log_in(&instance).await;
    let spid = instance.toy.sessions()[0];
    raw.send(&packet(BATCH, END, &batch_body("WAIT"))).await;
    raw.send(&packet(BATCH, END, &batch_body("SELECT 1"))).await;
    asked(&instance).await;
    drop(raw);
    logged_out(&instance, spid).await;
    assert!(instance.toy.events().contains(&Event::Abandoned(spid)));
}

#[tokio::test]
async fn a_client_that_leaves_during_its_login_leaves_no_session() {
    let instance = plain().await;
    let mut raw = Raw::connect(&instance).await;
    raw.send(&packet(PRELOGIN, END, &prelogin_body())).await;
    raw.reply().await;
    raw.send(&packet(LOGIN, END, &login_body(USER, PASSWORD))).await;
    drop(raw);
    // Whether the engine was asked at all is a race; if it was, it is told.
    let other = connect_plain(&instance).await;
    drop(other);
    instance
        .toy
        .until("everybody logs out", |events| {
            let ins = events.iter().filter(|event| matches!(event, Event::LoggedIn(..))).count();
            let outs = events.iter().filter(|event| matches!(event, Event::LoggedOut(_))).count();
            ins > 0 && ins == outs
        })
        .await;
    assert!(instance.toy.sessions().is_empty());
}

#[tokio::test]
async fn a_login_that_takes_too_long_is_given_up() {
    let deadline = std::time::Duration::from_millis(100);
    let instance = Instance::with(Options { login_deadline: deadline, ..Options::default() }).await;
    // One that never says a word, one that stops in the middle, one that the engine never answers.
    let mut silent = Raw::connect(&instance).await;
    let mut half = Raw::connect(&instance).await;
    // On a busy machine it may be over before this is said.
    let _ = half.socket.write_all(&packet(PRELOGIN, END, &prelogin_body())).await;
    assert!(silent.is_closed().await);
    assert!(half.is_closed().await);
    let failure = run(Client::Tiberius, &target(&instance).database("never"), ["SELECT 1"]).await.unwrap_err();
    assert_eq!(failure.numbers(), [0], "{failure:?}");
}

#[tokio::test]
async fn a_client_that_does_not_read_cannot_keep_a_killed_session() {
    let instance = plain().await;
    let mut raw = Raw::log_in(&instance).await;
    let spid = instance.toy.sessions()[0];
    raw.send(&packet(BATCH, END, &batch_body("ENDLESS"))).await;
    // More than the sockets hold is on its way when the first packets are here.
    raw.packet().await.unwrap();
    instance.toy.kill(spid);
    logged_out(&instance, spid).await;
}

#[tokio::test]
async fn an_instance_that_stops_ends_its_sessions() {
    let instance = plain().await;
    let _idle = connect_plain(&instance).await;
    let busy = tokio::spawn({
        let target = target(&instance);
        async move { run(Client::Tiberius, &target, ["WAIT ROWS"]).await }
    });
    let mut arriving = Raw::connect(&instance).await;
    arriving.socket.flush().await.unwrap();
    asked(&instance).await;
    let toy = instance.toy.clone();
    let began = std::time::Instant::now();
    instance.stop().await;
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(toy.sessions().is_empty());
    let answers = busy.await.unwrap().unwrap();
    assert_eq!(answers[0].as_ref().unwrap_err().numbers(), [596]);
    assert!(arriving.is_closed().await);
}
