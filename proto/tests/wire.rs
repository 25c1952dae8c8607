//! What programs of this version say to each other: every message, field number and method stands in a golden file, so that no change
//! takes back what an older program still says.
//!
//! `BATON_GOLDEN=write` adds what is new.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf};

use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorSet};

fn fields(name: &str, message: &DescriptorProto, lines: &mut BTreeSet<String>) {
    for field in &message.field {
        let (label, kind) = (field.label().as_str_name(), field.r#type().as_str_name());
        let mut line = format!("{name}.{} = {} {label} {kind}", field.name(), field.number());
        if !field.type_name().is_empty() {
            write!(line, " {}", field.type_name()).expect("into memory");
        }
        if let Some(of) = field.oneof_index {
            write!(line, " in {}", message.oneof_decl[of as usize].name()).expect("into memory");
        }
        lines.insert(line);
    }
    for nested in &message.nested_type {
        fields(&format!("{name}.{}", nested.name()), nested, lines);
    }
}

fn today() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(baton_proto::DESCRIPTORS).expect("the build wrote it");
    let mut lines = BTreeSet::new();
    for file in set.file.iter().filter(|file| file.package().starts_with("baton.")) {
        for message in &file.message_type {
            fields(&format!("{}.{}", file.package(), message.name()), message, &mut lines);
        }
        for of in &file.enum_type {
            lines.extend(of.value.iter().map(|value| format!("{} {} = {}", of.name(), value.name(), value.number())));
        }
        for service in &file.service {
            for method in &service.method {
                let stream = |yes: bool| if yes { "stream " } else { "" };
                lines.insert(format!(
                    "{}.{}/{}: {}{} -> {}{}",
                    file.package(),
                    service.name(),
                    method.name(),
                    stream(method.client_streaming()),
                    method.input_type(),
                    stream(method.server_streaming()),
                    method.output_type()
                ));
            }
        }
    }
    lines
}

#[test]
fn nothing_that_was_ever_said_is_taken_back_or_means_something_else() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1.txt");
    let today = today();
    assert!(today.len() > 100, "only {} lines", today.len());
    let known: BTreeSet<String> = fs::read_to_string(&path).unwrap_or_default().lines().map(str::to_owned).collect();
    let gone: Vec<&String> = known.difference(&today).collect();
    assert!(gone.is_empty(), "older programs say this, and it is gone or another: {gone:#?}");
    if std::env::var_os("BATON_GOLDEN").is_some() {
        let text: String = today.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&path, text).expect("write the golden file");
        return;
    }
    let new: Vec<&String> = today.difference(&known).collect();
    assert!(new.is_empty(), "new, and not in {}: {new:#?}", path.display());
}
