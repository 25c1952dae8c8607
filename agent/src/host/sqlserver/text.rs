//! Names and text inside statements that take no parameters (DDL, KILL, RESTORE). The only place where a value becomes part
//! of a statement.

/// `[name]`, with its closing brackets doubled.
pub fn name(text: &str) -> String {
    format!("[{}]", text.replace(']', "]]"))
}

/// `N'text'`, with its quotes doubled.
pub fn literal(text: &str) -> String {
    format!("N'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_name_or_a_literal_from_inside() {
        assert_eq!(name("a]; DROP DATABASE [b"), "[a]]; DROP DATABASE [b]");
        assert_eq!(literal("it's'; --"), "N'it''s''; --'");
    }
}
