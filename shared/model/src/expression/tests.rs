use serde_json::{Value, json};

use super::*;

fn scope(value: Value) -> Scope {
    value.as_object().expect("an object").clone().into_iter().collect()
}

fn evaluate(source: &str, over: Value) -> Result<Value, ExpressionError> {
    Expression::parse(source)?.evaluate(&scope(over))
}

fn rendered(value: Value, over: Value) -> Value {
    render(&value, &scope(over), &BTreeSet::new()).expect("renders").value
}

#[test]
fn values_keep_their_types() {
    let over = json!({ "vars": { "port": 5432, "ratio": 1.5, "big": u64::MAX, "list": ["a", "b"], "none": null } });
    for (source, expected) in [
        ("vars.port", json!(5432)),
        ("vars.port + 1", json!(5433)),
        ("vars.ratio", json!(1.5)),
        ("vars.big", json!(u64::MAX)),
        ("vars.list", json!(["a", "b"])),
        ("vars.none", json!(null)),
        ("size(vars.list) == 2 && 'a' in vars.list", json!(true)),
        ("vars.list.map(x, x + '!')", json!(["a!", "b!"])),
        ("has(vars.nope)", json!(false)),
        ("'port' in vars", json!(true)),
    ] {
        assert_eq!(evaluate(source, over.clone()), Ok(expected), "{source}");
    }
}

#[test]
fn maps_are_walked_in_the_order_of_their_keys() {
    let many: serde_json::Map<String, Value> = (0..200).map(|n| (format!("k{n:03}"), json!(n))).collect();
    let expected: Vec<Value> = (0..200).map(|n| json!(format!("k{n:03}"))).collect();
    for _ in 0..5 {
        assert_eq!(evaluate("m.map(k, k)", json!({ "m": many.clone() })), Ok(Value::from(expected.clone())));
        assert_eq!(
            evaluate("m.filter(k, m[k] < 3)", json!({ "m": many.clone() })),
            Ok(json!(["k000", "k001", "k002"]))
        );
    }
}

#[test]
fn errors_say_what_is_missing_and_what_is_there() {
    let over = json!({ "vars": { "port": 1, "db": { "name": "fdb" } }, "input": {} });
    for (source, expected) in [
        ("vars.prot", r#""vars.prot": there is no field prot in vars; it has db, port"#),
        ("vars.db.host", r#""vars.db.host": there is no field host in vars.db; it has name"#),
        ("vars.port.x", r#""vars.port.x": there is no field x in vars.port; vars.port is a whole number"#),
        ("vras.port", r#""vras.port": there is no variable vras; there are input, vars"#),
        ("input.reason", r#""input.reason": there is no field reason in input; it is empty"#),
        ("vars.port + 'a'", r#""vars.port + 'a'": + does not work on int and string"#),
    ] {
        assert_eq!(evaluate(source, over.clone()).expect_err(source).to_string(), expected);
    }
}

#[test]
fn syntax_errors_name_the_place() {
    for (source, expected) in [
        ("", r#""" is not an expression: it is empty"#),
        ("vars.port ==", r#""vars.port ==" is not an expression: it ends too early: something is missing at its end"#),
        ("vars.a and vars.b", r#""vars.a and vars.b" is not an expression: "and" is written "&&" here"#),
    ] {
        assert_eq!(Expression::parse(source).expect_err(source).to_string(), expected);
    }
    assert!(
        Expression::parse("lenght(vars.x) == 1")
            .expect_err("no such function")
            .to_string()
            .contains("there is no function lenght()")
    );
}

#[test]
fn depth_length_loops_and_results_are_bounded() {
    for source in
        ["(".repeat(5000), "[".repeat(2000), "!".repeat(1000), "-".repeat(1500), "a.".repeat(1000), "1+".repeat(1000)]
    {
        assert!(Expression::parse(&source).is_err());
    }
    assert!(Expression::parse(&format!("'{}'", "x".repeat(EXPRESSION_BYTES_MAX))).is_err());
    for source in
        [format!("{}a", "a+".repeat(900)), format!("a{}", ".b".repeat(900)), format!("a{}", "[0]".repeat(600))]
    {
        let error = Expression::parse(&source).expect_err("too long").to_string();
        assert!(error.contains("more than 96 operators"), "{error}");
    }
    let chained = Expression::parse(&format!("1{}", "+1".repeat(40))).expect_err("too deep").to_string();
    assert!(chained.contains("chains more than 24"), "{chained}");
    let long_but_flat = format!("a == 'x'{}", " || a == 'y'".repeat(30));
    assert_eq!(evaluate(&long_but_flat, json!({ "a": "y" })), Ok(json!(true)));
    assert_eq!(evaluate(&format!("1{}", "+1".repeat(20)), json!({})), Ok(json!(21)));
    // the worst of each kind that is taken fits the 2 MiB stack of a test's thread
    for source in [
        format!("{}a{}", "(".repeat(6), ")".repeat(6)),
        format!("{}a{}", "[".repeat(6), "]".repeat(6)),
        format!("{}a{}", "size(".repeat(6), ")".repeat(6)),
        format!("{}a{}{}", "(".repeat(6), ")".repeat(6), "+1".repeat(20)),
        format!("{}a{}", "(a?".repeat(6), ":b)".repeat(6)),
        format!("a{}", ".b".repeat(22)),
        format!("{}a", "a ? b : ".repeat(40)),
    ] {
        if let Ok(expression) = Expression::parse(&source) {
            let _ = expression.evaluate(&scope(json!({ "a": [1], "b": 2 })));
        }
    }
    assert!(Expression::parse("[1].map(a, [1].map(b, [1].map(c, a)))").is_err());
    let long = json!({ "x": "y".repeat(40 * 1024) });
    assert!(evaluate("x + x", long).expect_err("too large").to_string().contains("larger than 64 KiB"));
}

#[test]
fn references_leave_out_what_loops_bind() {
    let expression = Expression::parse("vars.list.map(x, x + input.y).filter(z, z != host.name)").expect("parses");
    assert_eq!(expression.references().into_iter().collect::<Vec<_>>(), ["host", "input", "vars"]);
    let asked = Expression::parse("has(vars.a) ? vars.a : vars.b['c']").expect("parses");
    assert_eq!(asked.required_paths().into_iter().collect::<Vec<_>>(), [vec!["vars", "b", "c"]]);
}

#[test]
fn a_whole_expression_keeps_its_type_and_text_around_it_makes_text() {
    let over = json!({ "vars": { "port": 5432, "list": [1, 2] } });
    assert_eq!(rendered(json!("${vars.port}"), over.clone()), json!(5432));
    assert_eq!(rendered(json!("port ${vars.port}!"), over.clone()), json!("port 5432!"));
    assert_eq!(rendered(json!({ "a": ["${vars.list}", 7] }), over.clone()), json!({ "a": [[1, 2], 7] }));
    assert_eq!(
        rendered(json!("costs $5 and $${vars.port} ${'}'}"), over.clone()),
        json!("costs $5 and ${vars.port} }")
    );
    // As an expression has it: an `expect` on the host may hold it.
    assert_eq!(rendered(json!("${vars.list}.all(x, x > 0)"), over.clone()), json!("[1,2].all(x, x > 0)"));
    assert!(render(&json!("x${vars}"), &scope(over), &BTreeSet::new()).is_err());
}

#[test]
fn text_in_a_list_inside_text_stays_one_literal() {
    let evil = json!({ "vars": { "list": ["'] + [\"x\"", "a\"b\\", "\u{1}é"] } });
    let text = rendered(json!("${vars.list}.map(x, x)"), evil.clone());
    let read = Expression::parse(text.as_str().expect("text")).expect("parses").evaluate(&Scope::new());
    assert_eq!(read.expect("a list"), evil["vars"]["list"]);
}

#[test]
fn a_secret_becomes_a_reference_and_is_never_evaluated() {
    let over = json!({ "vars": { "user": "u" } });
    let value = rendered(json!("${vars.user}:${secret('pw')}@"), over.clone());
    assert_eq!(value, json!({ "pieces": [{ "text": "u:" }, { "secret": "pw" }, { "text": "@" }] }));
    let text: crate::text::Text = serde_json::from_value(value).expect("a text");
    assert_eq!(text.to_string(), "u:${secret('pw')}@");
    assert!(Template::parse("${secret('a') + 'b'}").is_err());
    assert!(Template::parse("${secret(vars.user)}").is_err());
}

#[test]
fn a_value_that_looks_like_an_expression_stays_text() {
    let over =
        json!({ "vars": { "evil": "${secret('root')} ${vars.evil}", "posing": { "pieces": [{ "secret": "root" }] } } });
    assert_eq!(rendered(json!("${vars.evil}"), over.clone()), json!("${secret('root')} ${vars.evil}"));
    assert_eq!(rendered(json!("> ${vars.evil}"), over.clone()), json!("> ${secret('root')} ${vars.evil}"));
    let posing = render(&json!("${vars.posing}"), &scope(over.clone()), &BTreeSet::new());
    assert!(posing.expect_err("refused").to_string().contains("reference to a secret"));
    assert!(render(&json!("${[vars.posing]}"), &scope(over), &BTreeSet::new()).is_err());
}

#[test]
fn what_waits_stays_whole_and_what_is_resolved_survives_the_second_time() {
    let deferred = BTreeSet::from(["state".to_owned()]);
    let over = json!({ "vars": { "evil": "${secret('root')} $${x}", "n": 3 } });
    let params = json!({ "a": "${vars.evil}", "b": "${state.lag} of ${vars.n}", "c": "${vars.n}", "d": "p ${secret('x')} $${y}" });
    let first = render(&params, &scope(over), &deferred).expect("renders");
    assert!(first.deferred);
    assert_eq!(first.value["b"], "${state.lag} of ${vars.n}");
    assert_eq!(first.value["c"], 3);
    let second = render(&first.value, &scope(json!({ "state": { "lag": 7 }, "vars": { "n": 3 } })), &BTreeSet::new())
        .expect("renders");
    assert!(!second.deferred);
    assert_eq!(
        second.value,
        json!({
            "a": "${secret('root')} $${x}",
            "b": "7 of 3",
            "c": 3,
            "d": { "pieces": [{ "text": "p " }, { "secret": "x" }, { "text": " ${y}" }] }
        })
    );
}
