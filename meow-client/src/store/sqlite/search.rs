//! From what a user typed to an FTS5 expression.

use meow_core::Result;
use meow_core::store::MAX_SEARCH_WORDS;

use crate::store::{too_many_words, words};

/// An expression that holds for texts with all the words, the last of which may be the start of a word.
/// `None` when the query holds no word.
///
/// Each word is a quoted string of letters and digits, so nothing that a user types is an operator, a column
/// or a syntax error.
pub(super) fn expression(query: &str) -> Result<Option<String>> {
    let words: Vec<&str> = words(query).collect();
    if words.len() > MAX_SEARCH_WORDS {
        return Err(too_many_words());
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
        assert_eq!(expression("key:* NEAR(a b)").unwrap().unwrap(), r#""key" AND "NEAR" AND "a" AND "b" *"#);
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
