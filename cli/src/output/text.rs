//! Text that came from elsewhere, made fit to be shown.

/// Without anything that steers a terminal: output of a host must not repaint an operator's screen. Line ends and tabs
/// stay.
pub fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    text.replace("\r\n", "\n").chars().map(shown).collect()
}

/// The same on one line.
pub fn one_line(text: &str) -> String {
    printable(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// In characters. Wide ones (Chinese, Japanese) count once: names of hosts and services have none.
pub fn width(text: &str) -> usize {
    text.chars().count()
}

/// Cut to so many characters, with a sign that it was.
pub fn cut(text: &str, width_max: usize, ellipsis: &str) -> String {
    if width(text) <= width_max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width_max.saturating_sub(width(ellipsis))).collect();
    format!("{}{ellipsis}", kept.trim_end())
}

/// Broken into lines of at most this many characters, at blanks where there are any. Line ends of its own are kept.
pub fn wrap(text: &str, width_max: usize) -> Vec<String> {
    let width_max = width_max.max(10);
    let mut lines = Vec::new();
    for paragraph in text.trim_end().split('\n') {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && width(&line) + 1 + width(word) > width_max {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// `3 hosts`, `1 host`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_output_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\r\nc\td\u{9b}e"), "a\u{fffd}[2Jb\nc\td\u{fffd}e");
        assert_eq!(one_line(" a\n\x07 b  c"), "a \u{fffd} b c");
    }

    #[test]
    fn text_is_cut_and_wrapped_to_its_width() {
        assert_eq!(cut("größer", 6, "…"), "größer");
        assert_eq!(cut("größer", 5, "…"), "größ…");
        assert_eq!(wrap("one two three four\nfive", 10), ["one two", "three four", "five"]);
        assert_eq!(wrap("a-word-that-is-too-long for it", 10), ["a-word-that-is-too-long", "for it"]);
    }
}
