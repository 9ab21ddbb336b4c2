use serde_json::Number;

use crate::tree::Value;

/// What a scalar without quotes stands for in YAML 1.2, where the field doesn't say that it holds text; of numbers also those
/// with `_` between digits.
pub(crate) fn value_of(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    match number(text) {
        Some(number) => Value::Number(number),
        None => Value::Text(text.to_owned()),
    }
}

fn number(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let radix = digits.get(..2).and_then(|prefix| match prefix {
        "0x" => Some(16),
        "0o" => Some(8),
        _ => None,
    });
    if let Some(radix) = radix {
        return u64::from_str_radix(&between_digits(&digits[2..])?, radix)
            .ok()
            .filter(|_| !negative)
            .map(Number::from);
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || !digits.contains(|c: char| c.is_ascii_digit())
        || !digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '_' | 'e' | 'E' | '+' | '-'))
    {
        return None;
    }
    let plain = between_digits(digits)?;
    let signed = if negative { format!("-{plain}") } else { plain };
    if let Ok(whole) = signed.parse::<u64>() {
        return Some(whole.into());
    }
    if let Ok(whole) = signed.parse::<i64>() {
        return Some(whole.into());
    }
    // One that is too large for a number of this machine's is none.
    signed.parse::<f64>().ok().and_then(Number::from_f64)
}

/// The text without `_`, each of which stands between two digits.
fn between_digits(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let is_digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_hexdigit);
    let allowed = |at: usize| is_digit(at.checked_sub(1)) && is_digit(at.checked_add(1));
    let fits = bytes.iter().enumerate().all(|(at, byte)| *byte != b'_' || allowed(at));
    (fits && !text.is_empty()).then(|| text.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_nothing_else_is_taken_for_one() {
        for (text, number) in [
            ("0", "0"),
            ("42", "42"),
            ("-7", "-7"),
            ("+7", "7"),
            ("1_000", "1000"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("0123", "123"),
            ("1.10", "1.1"),
            (".5", "0.5"),
            ("5.", "5.0"),
            ("1e-3", "0.001"),
            ("2E3", "2000.0"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            match value_of(text) {
                Value::Number(found) => assert_eq!(found.to_string(), number, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        for text in [
            "61e9540",
            "12:30:45",
            "1__0",
            "_1",
            "1_",
            "0x",
            "-0x1",
            "0xG",
            "1.2.3",
            "1e",
            "e5",
            ".",
            "-",
            "+",
            "--1",
            "1-2",
            ".inf",
            "-.inf",
            ".nan",
            "inf",
            "NaN",
            "infinity",
            "no",
            "on",
            "yes",
            "off",
            "y",
            "tRue",
            "2020-01-01",
            "1 2",
        ] {
            assert!(matches!(value_of(text), Value::Text(found) if found == text), "{text}");
        }
    }
}
