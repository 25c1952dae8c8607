//! Parameters of every type that a client may send, byte by byte as the protocol describes them.
//!
//! Apart because no client here sends all of them.

use baton_sqlserver::answer::Value;
use baton_sqlserver::tds::request;

/// ALL_HEADERS with one header: a transaction's.
pub fn headers() -> Vec<u8> {
    let mut headers = vec![22, 0, 0, 0, 18, 0, 0, 0, 2, 0];
    headers.extend([0; 8]);
    headers.extend([1, 0, 0, 0]);
    headers
}

const COLLATION: [u8; 5] = [0x09, 0x04, 0xD0, 0x00, 0x34];

fn text(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn with_collation(kind: u8, length: u16, rest: &[u8]) -> Vec<u8> {
    [&[kind], length.to_le_bytes().as_slice(), &COLLATION, rest].concat()
}

/// TYPE_INFO and value, and what they say.
pub fn table() -> Vec<(&'static str, Vec<u8>, Value)> {
    let pieces = |bytes: &[u8], total: u64| {
        let (a, b) = bytes.split_at(bytes.len() / 2);
        [
            total.to_le_bytes().as_slice(),
            &(a.len() as u32).to_le_bytes(),
            a,
            &(b.len() as u32).to_le_bytes(),
            b,
            &[0; 4],
        ]
        .concat()
    };
    let unknown = u64::MAX - 1;
    vec![
        ("null", vec![0x1F], Value::Null),
        ("tinyint", vec![0x30, 200], Value::TinyInt(200)),
        ("bit", vec![0x32, 1], Value::Bit(true)),
        ("smallint", vec![0x34, 0xFE, 0xFF], Value::SmallInt(-2)),
        ("int", vec![0x38, 1, 0, 0, 0], Value::Int(1)),
        ("bigint", vec![0x7F, 0, 0, 0, 0, 1, 0, 0, 0], Value::BigInt(1 << 32)),
        ("real", [&[0x3B], 1.5_f32.to_le_bytes().as_slice()].concat(), Value::Float(1.5)),
        ("float", [&[0x3E], (-0.25_f64).to_le_bytes().as_slice()].concat(), Value::Float(-0.25)),
        ("smallmoney", vec![0x7A, 0x10, 0x27, 0, 0], Value::Numeric(1)),
        ("money", vec![0x3C, 0, 0, 0, 0, 0x88, 0x13, 0, 0], Value::Float(0.5)),
        ("money below zero", vec![0x3C, 0xFF, 0xFF, 0xFF, 0xFF, 0xF0, 0xD8, 0xFF, 0xFF], Value::Numeric(-1)),
        ("datetime", vec![0x3D, 0xDF, 0x63, 0, 0, 0x2C, 1, 0, 0], Value::DateTime(1000)),
        ("smalldatetime", vec![0x3A, 0xDF, 0x63, 2, 0], Value::DateTime(120_000)),
        ("intn 1", vec![0x26, 1, 1, 7], Value::TinyInt(7)),
        ("intn 2", vec![0x26, 2, 2, 7, 0], Value::SmallInt(7)),
        ("intn 4", vec![0x26, 4, 4, 7, 0, 0, 0], Value::Int(7)),
        ("intn 8", vec![0x26, 8, 8, 7, 0, 0, 0, 0, 0, 0, 0], Value::BigInt(7)),
        ("intn null", vec![0x26, 4, 0], Value::Null),
        ("bitn", vec![0x68, 1, 1, 0], Value::Bit(false)),
        ("fltn", [&[0x6D, 8, 8], 2.5_f64.to_le_bytes().as_slice()].concat(), Value::Float(2.5)),
        ("moneyn", vec![0x6E, 4, 4, 0x20, 0x4E, 0, 0], Value::Numeric(2)),
        ("datetimn", vec![0x6F, 8, 8, 0xDF, 0x63, 0, 0, 0, 0, 0, 0], Value::DateTime(0)),
        ("datetimn null", vec![0x6F, 8, 0], Value::Null),
        ("decimal", vec![0x6A, 5, 9, 2, 5, 1, 0xC8, 0, 0, 0], Value::Numeric(2)),
        ("numeric with a fraction", vec![0x6C, 5, 9, 2, 5, 0, 0x96, 0, 0, 0], Value::Float(-1.5)),
        (
            "numeric of 38 digits",
            [&[0x6C, 17, 38, 0, 17, 1], [0xFF; 15].as_slice(), &[0x0F]].concat(),
            Value::Numeric((1 << 124) - 1),
        ),
        ("numeric null", vec![0x6C, 17, 38, 0, 0], Value::Null),
        (
            "guid",
            vec![0x24, 16, 16, 4, 3, 2, 1, 6, 5, 8, 7, 9, 10, 11, 12, 13, 14, 15, 16],
            Value::Guid([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
        ),
        ("guid null", vec![0x24, 16, 0], Value::Null),
        // 1970-01-02 is day 719163 = 0x0AF93B.
        ("date", vec![0x28, 3, 0x3B, 0xF9, 0x0A], Value::DateTime(86_400_000)),
        ("date null", vec![0x28, 0], Value::Null),
        ("time(3)", vec![0x29, 3, 4, 0xEA, 0x2E, 0xEE, 0x00], Value::Text("04:20:09.578".into())),
        ("datetime2(0)", vec![0x2A, 0, 6, 60, 0, 0, 0x3A, 0xF9, 0x0A], Value::DateTime(60_000)),
        ("datetime2(7)", vec![0x2A, 7, 8, 0x80, 0x96, 0x98, 0, 0, 0x3A, 0xF9, 0x0A], Value::DateTime(1000)),
        ("datetimeoffset(0)", vec![0x2B, 0, 8, 60, 0, 0, 0x3A, 0xF9, 0x0A, 120, 0], Value::DateTime(60_000)),
        ("varbinary", vec![0xA5, 8, 0, 2, 0, 1, 2], Value::Binary(vec![1, 2])),
        ("varbinary null", vec![0xA5, 8, 0, 0xFF, 0xFF], Value::Null),
        (
            "varbinary(max)",
            [&[0xA5, 0xFF, 0xFF], pieces(&[1, 2, 3], 3).as_slice()].concat(),
            Value::Binary(vec![1, 2, 3]),
        ),
        ("binary", vec![0xAD, 2, 0, 2, 0, 1, 2], Value::Binary(vec![1, 2])),
        ("varchar", with_collation(0xA7, 8, &[3, 0, b'5', b' ', 0x80]), Value::Text("5 €".into())),
        ("char", with_collation(0xAF, 3, &[3, 0, b'a', b' ', b' ']), Value::Text("a  ".into())),
        (
            "nvarchar",
            with_collation(0xE7, 20, &[&[4, 0], text("ä𝄞").get(..4).unwrap()].concat()),
            Value::Text("ä\u{FFFD}".into()),
        ),
        ("nchar", with_collation(0xEF, 4, &[&[4, 0], text("ab").as_slice()].concat()), Value::Text("ab".into())),
        ("nvarchar null", with_collation(0xE7, 20, &[0xFF, 0xFF]), Value::Null),
        (
            "nvarchar(max)",
            with_collation(0xE7, 0xFFFF, &pieces(&text("größer"), unknown)),
            Value::Text("größer".into()),
        ),
        ("nvarchar(max) null", with_collation(0xE7, 0xFFFF, &[0xFF; 8]), Value::Null),
        (
            "text",
            [&[0x23, 9, 0, 0, 0], COLLATION.as_slice(), &[2, 0, 0, 0, b'h', b'i']].concat(),
            Value::Text("hi".into()),
        ),
        (
            "ntext",
            [&[0x63, 9, 0, 0, 0], COLLATION.as_slice(), &[4, 0, 0, 0], text("hi").as_slice()].concat(),
            Value::Text("hi".into()),
        ),
        ("ntext null", [&[0x63, 9, 0, 0, 0], COLLATION.as_slice(), &[0xFF; 4]].concat(), Value::Null),
        ("image", vec![0x22, 9, 0, 0, 0, 1, 0, 0, 0, 7], Value::Binary(vec![7])),
    ]
}

/// One call with every value, and one for each.
pub fn calls() -> Vec<Vec<u8>> {
    let parameter = |value: &[u8]| [&[2], text("@p").as_slice(), &[0], value].concat();
    let begin = [headers(), vec![3, 0], text("s_p"), vec![0, 0]].concat();
    let mut all = begin.clone();
    let mut calls = Vec::new();
    for (_, value, _) in table() {
        all.extend(parameter(&value));
        calls.push([begin.clone(), parameter(&value)].concat());
    }
    calls.push(all);
    calls
}

#[test]
fn every_type_of_parameter_is_understood() {
    for ((name, bytes, expected), call) in table().into_iter().zip(calls()) {
        let calls = request::calls(&call).unwrap_or_else(|error| panic!("{name}: {error} {bytes:02x?}"));
        let [call] = calls.as_slice() else { panic!("{name}: {calls:?}") };
        let [parameter] = call.parameters.as_slice() else { panic!("{name}: {call:?}") };
        assert_eq!((call.name.as_str(), parameter.name.as_str(), &parameter.value), ("s_p", "@p", &expected), "{name}");
    }
    let all = request::calls(calls().last().unwrap()).unwrap();
    assert_eq!(all[0].parameters.len(), table().len());
}

#[test]
fn a_value_that_ends_too_early_is_an_error() {
    for ((name, _, _), call) in table().into_iter().zip(calls()) {
        let cut = &call[..call.len() - 1];
        assert!(request::calls(cut).is_err(), "{name}");
    }
}

#[test]
fn several_calls_in_a_message_come_apart() {
    let call = |name: &str| [vec![name.len() as u8, 0], text(name), vec![0, 0]].concat();
    let message = [headers(), call("a"), vec![0xFF], call("b"), vec![0xFE], call("c")].concat();
    let names: Vec<String> = request::calls(&message).unwrap().into_iter().map(|call| call.name).collect();
    // What is marked so is not run.
    assert_eq!(names, ["a", "c"]);
}

#[test]
fn an_unknown_type_is_named() {
    let message = [headers(), vec![0xFF, 0xFF, 10, 0, 0, 0], vec![0, 0, 0xF3, 0, 0]].concat();
    let error = request::calls(&message).unwrap_err().to_string();
    assert!(error.contains("Data type 0xF3 is unknown"), "{error}");
}
