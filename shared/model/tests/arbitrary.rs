//! Whatever is written, the parsers answer and do not panic; whatever a value says, it is never evaluated.

use std::collections::BTreeSet;

use baton_model::{
    check,
    expression::{Expression, Scope, Template, escape, render},
    parse, yaml,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Text made of what the languages are made of, so that it gets further than noise does.
fn fragments() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "group",
        "runbook",
        "members",
        "hosts",
        "steps",
        "on",
        "pom",
        "service.stop",
        "sql.query",
        "connection",
        "name",
        "role.transfer",
        "role.detached",
        "coordinators.unreachable",
        "target",
        "require",
        "expect",
        "because",
        "guard",
        "candidate.site",
        "confirm",
        "together",
        "for",
        "when",
        "undo",
        "inputs",
        "vars",
        "windows",
        "automatic",
        "type",
        "choice",
        "default",
        "item",
        ": ",
        ":\n",
        "\n",
        "\n  ",
        "\n    ",
        "\n  - ",
        "- ",
        "{ ",
        " }",
        "[",
        "]",
        ", ",
        "\"",
        "'",
        "${",
        "}",
        "$${",
        "secret('x')",
        "vars.a",
        "input.b",
        "==",
        "&&",
        "1",
        "0640",
        "5m",
        "22:00",
        "no",
        "true",
        "~",
        "&a",
        "*a",
        "!t",
        "---",
        "#",
        "\t",
        "|",
        ">",
        "é",
        "\u{feff}",
    ]);
    prop::collection::vec(words, 0..60).prop_map(|words| words.concat())
}

/// A sample with one piece cut out and another put in.
fn mutated(sample: &'static str) -> impl Strategy<Value = String> {
    (0..sample.len(), 0usize..40, fragments()).prop_map(move |(at, length, put)| {
        let boundary = |mut at: usize| {
            while !sample.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (start, end) = (boundary(at), boundary((at + length).min(sample.len())));
        let put: String = put.chars().take(12).collect();
        format!("{}{put}{}", &sample[..start], &sample[end..])
    })
}

const GROUP: &str = include_str!("samples/group.yaml");
const RUNBOOK: &str = include_str!("samples/runbook.yaml");

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        fragments(),
        fragments().prop_map(|text| format!("group: {text}")),
        fragments().prop_map(|text| format!("runbook: r\nsteps:\n  - {text}")),
        mutated(GROUP),
        mutated(RUNBOOK),
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        fragments().prop_map(Value::from),
        Just(Value::from("${secret('root')}")),
        Just(Value::from("${vars.other}$${${")),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn scope(vars: Value) -> Scope {
    Scope::from([("vars".to_owned(), vars)])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_parsers_panic(text in any_text()) {
        let _ = yaml::parse("f", &text);
        let _ = parse::parse_group("f", &text);
        let _ = parse::parse_runbook("f", &text);
        let told = check::check_files(&[("f".to_owned(), text)]);
        prop_assert!(told.len() <= 50);
        prop_assert!(told.is_sorted_by_key(|fault| (fault.line, fault.column)));
    }

    #[test]
    fn no_text_makes_an_expression_panic(text in prop_oneof![any::<String>(), fragments()], vars in json_value()) {
        if let Ok(expression) = Expression::parse(&text) {
            let _ = expression.evaluate(&scope(vars));
        }
        let _ = Template::parse(&text);
    }

    #[test]
    fn a_value_comes_through_unread(value in json_value()) {
        prop_assume!(!value.to_string().contains("\"pieces\""));
        let params = json!({ "whole": "${vars.it}", "later": "${state.x}" });
        let waiting = BTreeSet::from(["state".to_owned()]);
        let scope = Scope::from([("vars".to_owned(), json!({ "it": value.clone(), "other": "evaluated" }))]);
        let first = render(&params, &scope, &waiting).expect("renders");
        let mut known = scope.clone();
        known.insert("state".to_owned(), json!({ "x": value.clone() }));
        let second = render(&first.value, &known, &BTreeSet::new()).expect("renders");
        prop_assert_eq!(&second.value["whole"], &value);
        prop_assert_eq!(&second.value["later"], &value);
    }

    #[test]
    fn text_around_a_value_leaves_it_unread(value in prop_oneof![any::<String>(), fragments()]) {
        let rendered = render(&json!("<${vars.it}>"), &scope(json!({ "it": value.clone() })), &BTreeSet::new()).expect("renders");
        prop_assert_eq!(rendered.value, json!(format!("<{value}>")));
    }

    #[test]
    fn what_is_escaped_is_given_back(value in json_value()) {
        let rendered = render(&escape(&value), &Scope::new(), &BTreeSet::new()).expect("renders");
        prop_assert_eq!(rendered.value, value);
    }

    #[test]
    fn the_same_text_gives_the_same_value(vars in json_value()) {
        for source in ["vars", "vars.map(k, k)", "vars.filter(k, true)", "[vars, vars]", "{'a': vars}"] {
            let expression = Expression::parse(source).expect("parses");
            let over = scope(vars.clone());
            prop_assert_eq!(expression.evaluate(&over).ok(), expression.evaluate(&over).ok());
        }
    }
}
