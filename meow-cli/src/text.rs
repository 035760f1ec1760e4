//! Text of other people on one's own terminal: whatever could steer the terminal is shown, not obeyed.

use std::fmt::Write as _;

/// How the second and later lines of a message start, so that none of them passes for another message.
const INDENT: &str = "\n    ";

/// A text of several lines, made safe for a terminal: lines after the first are indented; control characters
/// and those that turn the direction of writing stand as `\u{1b}`.
pub(crate) fn shown(text: &str) -> String {
    neutral(&text.replace("\r\n", "\n"), INDENT)
}

/// The same in one line.
pub(crate) fn one_line(text: &str) -> String {
    neutral(text, " ")
}

fn neutral(text: &str, newline: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str(newline),
            '\t' => out.push(' '),
            c if steers(c) => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Control characters (C0, DEL, C1), line and paragraph separators, marks, embeddings, overrides and isolates
/// of writing direction, and the tag characters, which hide text.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::{one_line, shown};

    #[test]
    fn escape_sequences_are_shown() {
        assert_eq!(shown("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(shown("\u{9b}31m\u{7}\u{8}"), "\\u{9b}31m\\u{7}\\u{8}");
        assert_eq!(shown("x\ry"), "x\\u{d}y");
    }

    #[test]
    fn direction_and_hidden_text_are_shown() {
        assert_eq!(shown("a\u{202e}b\u{2066}c\u{e0041}"), "a\\u{202e}b\\u{2066}c\\u{e0041}");
    }

    #[test]
    fn a_second_line_is_indented() {
        assert_eq!(shown("one\r\ntwo\nm9 three"), "one\n    two\n    m9 three");
        assert_eq!(one_line("one\ntwo\tthree"), "one two three");
    }

    #[test]
    fn letters_of_every_script_stay() {
        let text = "Grüße, 世界, שלום, 👩‍👩‍👧";
        assert_eq!(shown(text), text);
    }
}
