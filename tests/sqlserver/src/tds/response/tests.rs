use super::*;
use crate::answer::{Type, Value};

const MORE: u16 = 0x01;
const FAILED: u16 = 0x02;
const COUNT: u16 = 0x10;
const ATTENTION: u16 = 0x20;

/// The tokens of a reply, as far as the order of things goes.
#[derive(Debug, PartialEq)]
enum Seen {
    Columns,
    Row,
    RowWithoutNulls,
    Error(i32),
    Info(i32),
    Change(u8),
    Done(u16, u64),
    DoneProcedure(u16),
    DoneInProcedure(u16, u64),
    Status(i32),
    Value,
}

fn done(bytes: &mut &[u8]) -> (u16, u64) {
    let (done, rest) = bytes.split_at(12);
    *bytes = rest;
    (u16::from_le_bytes([done[0], done[1]]), u64::from_le_bytes(done[4..].try_into().unwrap()))
}

/// Of one column `v int`, and an output parameter `@o int`.
fn read(bytes: &BytesMut) -> Vec<Seen> {
    let mut bytes = &bytes[..];
    let mut seen = Vec::new();
    while let [token, rest @ ..] = bytes {
        bytes = rest;
        let with_length = |bytes: &mut &[u8]| {
            let length = usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
            let (body, rest) = bytes[2..].split_at(length);
            *bytes = rest;
            body.to_vec()
        };
        seen.push(match token {
            0x81 => {
                bytes = &bytes[2 + 4 + 2 + 2 + 1 + 2..];
                Seen::Columns
            }
            0xD1 => {
                bytes = &bytes[1 + usize::from(bytes[0])..];
                Seen::Row
            }
            0xD2 => {
                assert_eq!(bytes[0], 1);
                bytes = &bytes[1..];
                Seen::RowWithoutNulls
            }
            0xAA => Seen::Error(i32::from_le_bytes(with_length(&mut bytes)[..4].try_into().unwrap())),
            0xAB => Seen::Info(i32::from_le_bytes(with_length(&mut bytes)[..4].try_into().unwrap())),
            0xE3 => Seen::Change(with_length(&mut bytes)[0]),
            0xFD => {
                let (status, rows) = done(&mut bytes);
                Seen::Done(status, rows)
            }
            0xFE => Seen::DoneProcedure(done(&mut bytes).0),
            0xFF => {
                let (status, rows) = done(&mut bytes);
                Seen::DoneInProcedure(status, rows)
            }
            0x79 => {
                let (status, rest) = bytes.split_at(4);
                bytes = rest;
                Seen::Status(i32::from_le_bytes(status.try_into().unwrap()))
            }
            0xAC => {
                bytes = &bytes[2 + 1 + 4 + 1 + 4 + 2 + 2 + 5..];
                Seen::Value
            }
            other => panic!("token {other:#x}"),
        });
    }
    seen
}

fn columns() -> Answer {
    Answer::Columns(vec![Column { name: "v".into(), kind: Type::Int, nullable: true }])
}

fn row(value: Value) -> Answer {
    Answer::Row(vec![value])
}

fn said(number: i32, class: u8) -> Answer {
    let (text, procedure) = ("text".to_owned(), String::new());
    Answer::Said(Message { number, state: 1, class, text, procedure, line: 1 })
}

fn ended(rows: Option<u64>, failed: bool) -> Answer {
    Answer::Done { rows, failed }
}

fn tokens(in_procedure: bool, answers: Vec<Answer>) -> Vec<Seen> {
    let mut database = "master".to_owned();
    let mut response = Response::new("s", Version::V74, in_procedure, &mut database);
    let mut out = BytesMut::new();
    for answer in answers {
        response.put(&mut out, answer).unwrap();
    }
    response.finish(&mut out, false).unwrap();
    read(&out)
}

#[test]
fn only_the_last_statement_of_a_batch_says_that_nothing_follows() {
    let answers = vec![
        columns(),
        row(Value::Int(1)),
        row(Value::Null),
        ended(Some(2), false),
        ended(Some(5), false),
        said(3211, 10),
        ended(None, false),
    ];
    let expected = [
        Seen::Columns,
        Seen::Row,
        Seen::RowWithoutNulls,
        Seen::Done(MORE | COUNT, 2),
        Seen::Done(MORE | COUNT, 5),
        Seen::Info(3211),
        Seen::Done(0, 0),
    ];
    assert_eq!(tokens(false, answers), expected);
}

#[test]
fn an_error_is_marked_on_its_own_statement_only() {
    let answers = vec![said(50_001, 16), ended(None, true), ended(Some(1), false)];
    assert_eq!(tokens(false, answers), [Seen::Error(50_001), Seen::Done(MORE | FAILED, 0), Seen::Done(COUNT, 1)]);
}

#[test]
fn a_batch_without_an_end_gets_one() {
    assert_eq!(tokens(false, vec![]), [Seen::Done(0, 0)]);
    assert_eq!(tokens(false, vec![said(102, 15)]), [Seen::Error(102), Seen::Done(FAILED, 0)]);
    let after = vec![ended(Some(1), false), said(0, 0)];
    assert_eq!(tokens(false, after), [Seen::Done(MORE | COUNT, 1), Seen::Info(0), Seen::Done(0, 0)]);
}

#[test]
fn a_procedure_ends_with_status_outputs_and_its_own_end() {
    let output = crate::answer::Parameter { name: "@o".into(), value: Value::Int(1), output: true };
    let answers =
        vec![Answer::Output(output), columns(), row(Value::Int(1)), ended(Some(1), false), Answer::Returned(7)];
    let expected = [
        Seen::Columns,
        Seen::Row,
        Seen::DoneInProcedure(MORE | COUNT, 1),
        Seen::Status(7),
        Seen::Value,
        Seen::DoneProcedure(0),
    ];
    assert_eq!(tokens(true, answers), expected);
    let failed = vec![said(1205, 13), ended(None, true)];
    let expected =
        [Seen::Error(1205), Seen::DoneInProcedure(MORE | FAILED, 0), Seen::Status(0), Seen::DoneProcedure(FAILED)];
    assert_eq!(tokens(true, failed), expected);
}

#[test]
fn after_an_attention_only_messages_and_its_acknowledgement_follow() {
    let mut database = "master".to_owned();
    let mut response = Response::new("s", Version::V74, true, &mut database);
    let mut out = BytesMut::new();
    for answer in [columns(), row(Value::Int(1))] {
        response.put(&mut out, answer).unwrap();
    }
    response.cancel();
    let late =
        [row(Value::Int(2)), said(3204, 16), Answer::Database("db1".into()), ended(Some(2), true), Answer::Returned(1)];
    for answer in late {
        response.put(&mut out, answer).unwrap();
    }
    response.finish(&mut out, false).unwrap();
    let expected = [Seen::Columns, Seen::Row, Seen::Error(3204), Seen::Change(1), Seen::Done(ATTENTION, 0)];
    assert_eq!(read(&out), expected);
    assert_eq!(database, "db1");
}

#[test]
fn rows_that_do_not_go_with_their_columns_leave_no_trace() {
    let mut database = String::new();
    let mut response = Response::new("s", Version::V72, false, &mut database);
    let mut out = BytesMut::new();
    assert_eq!(response.put(&mut out, row(Value::Int(1))), Err(Unspeakable::Width { columns: 0, values: 1 }));
    response.put(&mut out, columns()).unwrap();
    assert!(response.put(&mut out, Answer::Row(vec![])).is_err());
    assert!(matches!(response.put(&mut out, row(Value::BigInt(1 << 40))), Err(Unspeakable::Misfit(_))));
    assert!(matches!(response.put(&mut out, row(Value::Text("1".into()))), Err(Unspeakable::Misfit(_))));
    response.put(&mut out, row(Value::TinyInt(1))).unwrap();
    // An old client knows no compressed rows.
    response.put(&mut out, row(Value::Null)).unwrap();
    response.finish(&mut out, false).unwrap();
    assert_eq!(read(&out), [Seen::Columns, Seen::Row, Seen::Row, Seen::Done(0, 0)]);
}
