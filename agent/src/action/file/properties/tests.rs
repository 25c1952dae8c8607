//! The promise of the editor, on real layouts and on arbitrary bytes.

use super::*;

use proptest::prelude::*;

fn edited(before: &str, edit: impl FnOnce(&mut Document) -> bool) -> String {
    let mut document = Document::parse(before.as_bytes());
    assert!(edit(&mut document), "nothing was changed");
    String::from_utf8(document.to_bytes()).unwrap()
}

#[test]
fn a_value_is_set_where_it_stands_and_everything_else_stays() {
    let file = "# db\r\n! old\r\n\r\n  db.host : a\r\ndb.port=5432\r\npath \\\r\n   /opt\r\nlast = x";
    for (key, value, from, to) in [
        ("db.host", "b", "db.host : a", "db.host : b"),
        ("db.port", "5433", "port=5432", "port=5433"),
        ("path", "/srv", "path \\\r\n   /opt", "path \\\r\n   /srv"),
        ("last", "y=z:1", "last = x", "last = y=z:1"),
    ] {
        assert_eq!(edited(file, |document| document.set(key, value)), file.replace(from, to));
    }
    assert!(!Document::parse(file.as_bytes()).set("path", "/opt"), "it has this value already");
}

#[test]
fn a_new_key_follows_the_line_ends_of_the_file() {
    let set = |document: &mut Document| document.set("k", "v");
    assert_eq!(edited("", set), "k=v\n");
    assert_eq!(edited("a=1\n", set), "a=1\nk=v\n");
    assert_eq!(edited("a=1\r\n", set), "a=1\r\nk=v\r\n");
    assert_eq!(edited("a=1", set), "a=1\nk=v");
    assert_eq!(edited("#c\r\na=1", set), "#c\r\na=1\r\nk=v");
    let swallowing = edited("a=1\\", set);
    assert_eq!(Document::parse(swallowing.as_bytes()).get("k").as_deref(), Some("v"), "{swallowing:?}");
}

#[test]
fn the_key_that_holds_is_the_last_one_and_unset_takes_them_all() {
    let file = "a=1\nb=2\na=3\n";
    assert_eq!(Document::parse(file.as_bytes()).get("a").as_deref(), Some("3"));
    assert_eq!(edited(file, |document| document.set("a", "4")), "a=1\nb=2\na=4\n");
    assert_eq!(edited(file, |document| document.unset("a")), "b=2\n");
}

#[test]
fn list_items_go_and_come_without_moving_the_others() {
    let remove = |line: &str, item: &str| edited(line, |document| document.remove_from_list("*", item));
    assert_eq!(remove("p=one,two,three\n", "two"), "p=one,three\n");
    assert_eq!(remove("p = one, two, three\n", "one"), "p = two, three\n");
    assert_eq!(remove("p = one, two, three\n", "three"), "p = one, two\n");
    assert_eq!(remove("p=one\n", "one"), "p=\n");
    assert_eq!(remove("p=one,\\\n   two,\\\n   three\n", "two"), "p=one,\\\n   three\n");
    assert_eq!(remove("p=one,\\\n   two\n", "one"), "p=two\n");
    assert_eq!(remove("# one\np=one,x\nq=y\nr=y,one\n", "one"), "# one\np=x\nq=y\nr=y\n");
    assert!(!Document::parse(b"p=oneself\n").remove_from_list("*", "one"));
    let add = |line: &str| edited(line, |document| document.add_to_list("p", "new"));
    assert_eq!(add("p=one\n"), "p=one,new\n");
    assert_eq!(add("p : one, two\n"), "p : one, two, new\n");
    assert_eq!(add("p=\n"), "p=new\n");
    assert_eq!(add("q=1"), "q=1\np=new");
    assert!(!Document::parse(b"p=one , new\n").add_to_list("p", "new"));
}

#[test]
fn keys_and_values_are_read_as_java_reads_them() {
    let file = br"a\ b\:c = x\ty\u00e9\\
cheeses
url=jdbc:postgresql://h:5432/db?a=b
 spaced   value with # no comment
long=one \
     two
";
    let document = Document::parse(file);
    assert_eq!(document.get("a b:c").as_deref(), Some("x\tyé\\"));
    assert_eq!(document.get("cheeses").as_deref(), Some(""));
    assert_eq!(document.get("url").as_deref(), Some("jdbc:postgresql://h:5432/db?a=b"));
    assert_eq!(document.get("spaced").as_deref(), Some("value with # no comment"));
    assert_eq!(document.get("long").as_deref(), Some("one two"));
    assert_eq!(document.keys().len(), 5);
}

#[test]
fn latin_1_bytes_stay_and_new_text_is_written_so_that_everyone_reads_it() {
    let mut document = Document::parse(b"name=M\xfcller\n");
    assert_eq!(document.get("name").as_deref(), Some("Müller"));
    document.set("city", "Köln 𝄞");
    assert_eq!(document.to_bytes(), b"name=M\xfcller\ncity=K\\u00F6ln \\uD834\\uDD1E\n");
    assert_eq!(document.get("city").as_deref(), Some("Köln 𝄞"));
    assert_eq!(edited("a=ü\n", |document| document.set("b", "ö")), "a=ü\nb=ö\n");
}

/// Bytes that are mostly what such files are made of.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        Just("key".to_owned()),
        Just("k".to_owned()),
        Just("*a,b".to_owned()),
        "[ =:,\\\\#!\t\x0c\n\r]",
        Just("\\\n  ".to_owned()),
        Just("\r\n".to_owned()),
        Just("\\u00e9".to_owned()),
        "[a-z0-9é]{0,4}",
    ];
    prop_oneof![
        8 => prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..60),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_read_is_written_again(bytes in bytes()) {
        prop_assert_eq!(Document::parse(&bytes).to_bytes(), bytes);
    }

    #[test]
    fn a_value_that_is_set_is_read_again_by_whoever_reads_the_file(
        bytes in bytes(), key in "k|key|[a-z .:=#!é\\\\]{1,6}", value in "[ -~éü\t\n\r𝄞\\\\]{0,12}",
    ) {
        let before = Document::parse(&bytes);
        let mut after = before.clone();
        let changed = after.set(&key, &value);
        prop_assert_eq!(changed, before.get(&key).as_deref() != Some(value.as_str()));
        let read = Document::parse(&after.to_bytes());
        prop_assert_eq!(read.get(&key), Some(value.clone()));
        // The others, their order and their values are as before.
        let others = |document: &Document| {
            document.keys().into_iter().filter(|other| *other != key).map(|other| (document.get(&other), other)).collect::<Vec<_>>()
        };
        prop_assert_eq!(others(&read), others(&before));
        let mut again = read.clone();
        prop_assert!(!again.set(&key, &value), "the second time changed something");
        prop_assert_eq!(again.to_bytes(), after.to_bytes());
    }

    #[test]
    fn setting_the_old_value_again_gives_the_old_meaning(bytes in bytes(), value in "[a-z ]{0,8}") {
        let before = Document::parse(&bytes);
        for key in before.keys() {
            let original = before.get(&key).unwrap();
            let mut document = before.clone();
            document.set(&key, &value);
            document.set(&key, &original);
            let read = Document::parse(&document.to_bytes());
            prop_assert_eq!(read.get(&key), Some(original));
            prop_assert_eq!(read.keys(), before.keys());
        }
    }

    #[test]
    fn only_the_bytes_of_one_value_change(bytes in bytes(), value in "[a-z]{1,8}") {
        let before = Document::parse(&bytes);
        for key in before.keys() {
            let mut after = before.clone();
            if !after.set(&key, &value) {
                continue;
            }
            let (old, new) = (before.to_bytes(), after.to_bytes());
            let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
            let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
            let entry = before.entries().rev().find(|entry| entry.key_text() == key).unwrap();
            // A lone backslash that ends the file after a key means nothing, and has to make room.
            let lone = usize::from(entry.separator.is_empty() && goes_on(b"", &entry.key));
            prop_assert!(old.len() - head - tail <= entry.value.len() + lone, "more than the value was replaced");
            prop_assert!(new.len() - head - tail <= value.len() + 1, "more than the value was written");
        }
    }

    #[test]
    fn a_list_item_goes_once_and_for_all(bytes in bytes()) {
        let mut document = Document::parse(&bytes);
        let keys = document.keys();
        document.remove_from_list("*", "a");
        let mut read = Document::parse(&document.to_bytes());
        prop_assert_eq!(read.keys(), keys);
        prop_assert!(!read.remove_from_list("*", "a"));
        read.add_to_list("k", "zz");
        let mut again = Document::parse(&read.to_bytes());
        prop_assert!(!again.add_to_list("k", "zz"));
    }
}
