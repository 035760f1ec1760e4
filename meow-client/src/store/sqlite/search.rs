//! From what a user typed to an FTS5 expression.

use meow_core::{Error, ErrorKind, Result};

/// More words than anybody searches for; FTS5's cost and its parser's stack grow with them.
const MAX_WORDS: usize = 64;

/// An expression that holds for texts with all the words, the last of which may be the start of a word.
/// `None` when the query holds no word.
///
/// Each word is a quoted string, in which only the quote itself has a meaning; so nothing that a user types
/// is an operator, a column or a syntax error.
pub(super) fn expression(query: &str) -> Result<Option<String>> {
    let words: Vec<&str> = query
        .split(|c: char| c.is_whitespace() || c.is_control() || c == '"')
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .collect();
    if words.len() > MAX_WORDS {
        return Err(Error::new(ErrorKind::Usage, "a search takes at most 64 words: leave some out"));
    }
    if words.is_empty() {
        return Ok(None);
    }
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    Ok(Some(format!("{} *", quoted.join(" AND "))))
}

#[cfg(test)]
mod tests {
    use super::expression;

    #[test]
    fn operators_are_words() {
        assert_eq!(expression("cats OR dogs").unwrap().unwrap(), r#""cats" AND "OR" AND "dogs" *"#);
        assert_eq!(expression(r#"say "hi"#).unwrap().unwrap(), r#""say" AND "hi" *"#);
        assert_eq!(expression("key:* NEAR(a b)").unwrap().unwrap(), r#""key:*" AND "NEAR(a" AND "b)" *"#);
    }

    #[test]
    fn nothing_to_search_for() {
        for query in ["", "  \n", "\"\"", "* - ( )", "\0"] {
            assert_eq!(expression(query).unwrap(), None);
        }
    }

    #[test]
    fn too_many_words_are_refused() {
        assert!(expression(&"a ".repeat(64)).unwrap().is_some());
        assert!(expression(&"a ".repeat(65)).is_err());
    }
}
