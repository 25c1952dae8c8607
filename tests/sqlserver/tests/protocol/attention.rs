//! A client that does not want to wait any longer, and goes on afterwards.

use baton_sqlserver::tds::Encryption;
use futures::TryStreamExt as _;
use serde_json::json;
use tiberius::QueryItem;

use crate::clients::{Client, run};
use crate::conversation::target;
use crate::encryption::{Tiberius, connect_plain};
use crate::raw::{self, ATTENTION, BATCH, END, IGNORE, RESET, RPC, Raw, batch_body, done, packet};
use crate::toy::{Event, Instance};

const ATTENTION_BIT: u16 = 0x20;

async fn plain() -> Instance {
    Instance::start(Encryption::Available, None).await
}

async fn select_one(client: &mut Tiberius) -> i32 {
    let row = client.simple_query("SELECT 1").await.unwrap().into_row().await.unwrap().unwrap();
    row.try_get::<i32, _>(0).unwrap().unwrap()
}

fn cancelled(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Cancelled(_))).count()
}

#[tokio::test]
async fn a_cancelled_query_ends_after_some_rows_and_the_connection_goes_on() {
    let instance = plain().await;
    let mut client = connect_plain(&instance).await;
    for text in ["WAIT ROWS", "ENDLESS"] {
        let mut stream = client.simple_query(text).await.unwrap();
        let first = stream.try_next().await.unwrap();
        assert!(matches!(first, Some(QueryItem::Metadata(_))));
        // The row has come although the statement is far from its end.
        assert!(matches!(stream.try_next().await.unwrap(), Some(QueryItem::Row(_))));
        drop(stream);
        client.cancel_query().await.unwrap();
        assert_eq!(select_one(&mut client).await, 1, "{text}");
    }
    assert_eq!(cancelled(&instance.toy.events()), 2);
}

#[tokio::test]
async fn a_query_can_be_cancelled_before_it_says_anything() {
    let instance = plain().await;
    let mut client = connect_plain(&instance).await;
    tokio::select! {
        _ = client.simple_query("WAIT") => panic!("it waits"),
        () = instance.toy.until("ask", |events| events.iter().any(|event| matches!(event, Event::Asked(..)))) => {}
    }
    client.cancel_query().await.unwrap();
    assert_eq!(select_one(&mut client).await, 1);
    assert_eq!(cancelled(&instance.toy.events()), 1);
}

#[tokio::test]
async fn cancelling_what_has_ended_is_acknowledged_as_well() {
    let instance = plain().await;
    let mut client = connect_plain(&instance).await;
    assert_eq!(select_one(&mut client).await, 1);
    client.cancel_query().await.unwrap();
    assert_eq!(select_one(&mut client).await, 1);
    assert_eq!(cancelled(&instance.toy.events()), 0);
}

#[tokio::test]
async fn a_client_whose_patience_ends_cancels_and_goes_on() {
    let instance = plain().await;
    let answers = run(Client::PyTds, &target(&instance).patience_s(2), ["WAIT ROWS", "SELECT 1"]).await.unwrap();
    assert!(answers[0].is_err());
    assert_eq!(answers[1].as_ref().unwrap().value(), &json!(1));
    assert_eq!(cancelled(&instance.toy.events()), 1);
    // pymssql does not cancel: it leaves.
    let answers = run(Client::PyMsSql, &target(&instance).patience_s(2), ["WAIT"]).await.unwrap();
    assert!(answers[0].is_err());
    instance.toy.until("leave", |events| events.iter().any(|event| matches!(event, Event::Abandoned(_)))).await;
}

#[tokio::test]
async fn an_attention_right_behind_a_request_of_several_packets_finds_it() {
    let instance = plain().await;
    let mut raw = Raw::log_in(&instance).await;
    let body = batch_body(&format!("WAIT{}", " ".repeat(4000)));
    let (first, second) = body.split_at(4088);
    let mut bytes = packet(BATCH, 0, first);
    bytes.extend(packet(BATCH, END, second));
    bytes.extend(packet(ATTENTION, END, &[]));
    raw.send(&bytes).await;
    assert_eq!(done(&raw.reply().await), ATTENTION_BIT);
    assert!(raw.is_silent().await);
    assert_eq!(done(&raw.ask("SELECT 1").await) & ATTENTION_BIT, 0);
    assert_eq!(cancelled(&instance.toy.events()), 1);
}

#[tokio::test]
async fn an_attention_in_the_middle_of_a_request_drops_it() {
    let instance = plain().await;
    let mut raw = Raw::log_in(&instance).await;
    let body = batch_body("SELECT 1");
    raw.send(&packet(BATCH, 0, &body[..24])).await;
    raw.send(&packet(ATTENTION, END, &[])).await;
    assert_eq!(done(&raw.reply().await), ATTENTION_BIT);
    assert!(instance.toy.batches().is_empty());
    assert_eq!(done(&raw.ask("SELECT 2").await) & ATTENTION_BIT, 0);
    assert_eq!(instance.toy.batches(), ["SELECT 2"]);
}

#[tokio::test]
async fn an_attention_ends_all_calls_of_a_message() {
    let instance = plain().await;
    let mut raw = Raw::log_in(&instance).await;
    let call = |name: &str| [vec![name.len() as u8, 0], raw::utf16(name), vec![0, 0]].concat();
    let message = [crate::values::headers(), call("sp_toy"), vec![0xFF], call("sp_wait"), vec![0xFF], call("sp_toy")];
    raw.send(&[packet(RPC, END, &message.concat()), packet(ATTENTION, END, &[])].concat()).await;
    assert_eq!(done(&raw.reply().await), ATTENTION_BIT);
    assert!(raw.is_silent().await);
    assert_ne!(done(&raw.ask("SELECT 1").await), ATTENTION_BIT);
    assert!(cancelled(&instance.toy.events()) <= 1);
}

#[tokio::test]
async fn a_message_that_its_client_takes_back_is_not_run() {
    let instance = plain().await;
    let mut raw = Raw::log_in(&instance).await;
    let body = batch_body("SELECT 1");
    raw.send(&packet(BATCH, 0, &body[..24])).await;
    raw.send(&packet(BATCH, END | IGNORE, &body[24..])).await;
    assert!(raw.is_silent().await);
    raw.ask("SELECT 2").await;
    assert_eq!(instance.toy.batches(), ["SELECT 2"]);
}

#[tokio::test]
async fn a_request_that_came_too_early_is_answered_in_its_turn() {
    let instance = plain().await;
    let mut raw = Raw::log_in(&instance).await;
    let mut bytes = packet(BATCH, END, &batch_body("ROWS 100"));
    bytes.extend(packet(BATCH, END, &batch_body("SELECT 2")));
    raw.send(&bytes).await;
    assert_ne!(done(&raw.reply().await), ATTENTION_BIT);
    assert_ne!(done(&raw.reply().await), ATTENTION_BIT);
    assert_eq!(instance.toy.batches(), ["ROWS 100", "SELECT 2"]);
}

#[tokio::test]
async fn a_reset_comes_before_the_request_that_asks_for_it() {
    const RESET_ACKNOWLEDGED: [u8; 6] = [0xE3, 3, 0, 18, 0, 0];
    let instance = plain().await;
    let mut raw = Raw::log_in(&instance).await;
    raw.ask("USE db1").await;
    raw.send(&packet(BATCH, END | RESET, &batch_body("SELECT 1"))).await;
    let reply = raw.reply().await;
    assert_eq!(reply[..6], RESET_ACKNOWLEDGED);
    // The database is the login's again, and the client is told.
    assert_eq!(reply[6], 0xE3);
    assert_eq!(reply[9], 1);
    let events = instance.toy.events();
    assert!(matches!(events.as_slice(), [.., Event::Reset(_), Event::Asked(..)]), "{events:?}");
}

#[tokio::test]
async fn a_client_may_say_everything_one_byte_at_a_time() {
    let instance = plain().await;
    let mut raw = Raw::connect(&instance).await;
    raw.trickle(&packet(raw::PRELOGIN, END, &raw::prelogin_body())).await;
    raw.reply().await;
    raw.trickle(&packet(raw::LOGIN, END, &raw::login_body(crate::toy::USER, crate::toy::PASSWORD))).await;
    assert_eq!(done(&raw.reply().await), 0);
    raw.trickle(&packet(BATCH, END, &batch_body("SELECT 1"))).await;
    assert_ne!(done(&raw.reply().await), 0);
    raw.trickle(&packet(BATCH, END, &batch_body("WAIT ROWS"))).await;
    raw.packet().await.unwrap();
    raw.trickle(&packet(ATTENTION, END, &[])).await;
    assert_eq!(done(&raw.reply().await), ATTENTION_BIT);
}
