use proptest::prelude::*;

use super::*;
use crate::tds::cursor::Cursor;
use crate::tds::parameter;

/// What is sent as a column can be read as a parameter: both have one form.
fn there_and_back(kind: Type, value: &Value) -> Value {
    let mut bytes = BytesMut::new();
    // No name, nothing special.
    bytes.put_slice(&[0, 0]);
    put_type(&mut bytes, kind);
    put_value(&mut bytes, kind, value).unwrap();
    let mut cursor = Cursor::new("parameter", &bytes);
    let parameter = parameter::decode(&mut cursor, 1).unwrap();
    assert!(cursor.is_empty(), "{kind:?} {value:?} left {:02x?}", cursor.rest());
    parameter.value
}

fn pair() -> impl Strategy<Value = (Type, Value)> {
    let text = proptest::collection::vec(any::<char>(), 0..300).prop_map(|text| text.into_iter().collect::<String>());
    let latin = "[a-zA-Z äöüß€]{0,100}";
    let digits = 10_i128.pow(25) - 1;
    prop_oneof![
        any::<bool>().prop_map(|it| (Type::Bit, Value::Bit(it))),
        any::<u8>().prop_map(|it| (Type::TinyInt, Value::TinyInt(it))),
        any::<i16>().prop_map(|it| (Type::SmallInt, Value::SmallInt(it))),
        any::<i32>().prop_map(|it| (Type::Int, Value::Int(it))),
        any::<i64>().prop_map(|it| (Type::BigInt, Value::BigInt(it))),
        any::<f64>()
            .prop_filter("not equal to itself", |it| !it.is_nan())
            .prop_map(|it| (Type::Float, Value::Float(it))),
        (-digits..=digits).prop_map(|it| (Type::Numeric { precision: 25 }, Value::Numeric(it))),
        any::<[u8; 16]>().prop_map(|it| (Type::UniqueIdentifier, Value::Guid(it))),
        text.clone().prop_map(|it| (Type::NVarChar { length: 600 }, Value::Text(it))),
        text.prop_map(|it| (Type::NVarChar { length: 0 }, Value::Text(it.repeat(40)))),
        latin.prop_map(|it| (Type::VarChar { length: 100 }, Value::Text(it))),
        proptest::collection::vec(any::<u8>(), 0..300)
            .prop_map(|it| (Type::VarBinary { length: 300 }, Value::Binary(it))),
        proptest::collection::vec(any::<u8>(), 0..30_000)
            .prop_map(|it| (Type::VarBinary { length: 0 }, Value::Binary(it))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_value_comes_back_from_the_wire((kind, value) in pair()) {
        prop_assert_eq!(there_and_back(kind, &value), value);
        prop_assert_eq!(there_and_back(kind, &Value::Null), Value::Null);
    }

    #[test]
    fn times_come_back_to_a_three_hundredth(milliseconds in -2_208_988_800_000_i64..253_402_300_799_000) {
        let Value::DateTime(back) = there_and_back(Type::DateTime, &Value::DateTime(milliseconds)) else { panic!() };
        prop_assert!((back - milliseconds).abs() <= 2, "{} became {}", milliseconds, back);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let long = Value::Text("12345".into());
    for (kind, value) in [
        (Type::NVarChar { length: 4 }, long.clone()),
        (Type::VarChar { length: 4 }, long.clone()),
        (Type::Char { length: 4 }, long.clone()),
        (Type::VarBinary { length: 1 }, Value::Binary(vec![1, 2])),
        (Type::Int, Value::BigInt(1 << 31)),
        (Type::TinyInt, Value::Int(-1)),
        (Type::Numeric { precision: 3 }, Value::Int(1000)),
        (Type::Int, Value::Bit(true)),
        (Type::Bit, Value::Int(1)),
        (Type::Int, long.clone()),
        (Type::VarBinary { length: 0 }, long),
        (Type::DateTime, Value::DateTime(i64::MAX)),
    ] {
        let expected = Misfit { kind, value: value.clone() };
        assert_eq!(put_value(&mut BytesMut::new(), kind, &value), Err(expected));
    }
    // Text of as many units as the column has is in, whatever its bytes.
    put_value(&mut BytesMut::new(), Type::NVarChar { length: 4 }, &Value::Text("𝄞𝄞".into())).unwrap();
    put_value(&mut BytesMut::new(), Type::Numeric { precision: 38 }, &Value::Numeric(-(10_i128.pow(38) - 1))).unwrap();
}
