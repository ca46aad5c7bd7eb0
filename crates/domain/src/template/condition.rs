//! Conditions: a small part of SQL, in disjunctive form because `and` binds tighter and there are no brackets.

use super::column::{ColumnType, is_name};
use super::decimal::Literal as DecimalLiteral;

/// True when every test of one of its lines is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub any: Vec<Vec<Test>>,
}

/// A test of one column. A comparison with null is not true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Test {
    pub column: String,
    pub check: Check,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Check {
    IsNull,
    IsNotNull,
    In(Vec<Value>),
    NotIn(Vec<Value>),
}

/// A value as it stands in a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Number(String),
    Boolean(bool),
}

/// A condition after its variables were put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Folded {
    Always,
    Never,
    When(Condition),
}

impl Test {
    /// Whether the test can be made on a column of this type.
    pub fn check_type(&self, column: ColumnType) -> Result<(), String> {
        let (Check::In(values) | Check::NotIn(values)) = &self.check else { return Ok(()) };
        for value in values {
            let fits = match (value, column) {
                (Value::Text(_), ColumnType::Text) | (Value::Boolean(_), ColumnType::Boolean) => true,
                (Value::Number(number), t) if t.is_integer() => number.parse::<i64>().is_ok(),
                (Value::Number(number), ColumnType::Numeric) => DecimalLiteral::parse(number).is_some(),
                _ => false,
            };
            if !fits {
                return Err(format!("{} cannot be compared with {}", column.name(), value.shown()));
            }
        }
        Ok(())
    }
}

impl Value {
    fn shown(&self) -> String {
        match self {
            Value::Text(text) => format!("'{text}'"),
            Value::Number(number) => number.clone(),
            Value::Boolean(value) => value.to_string(),
        }
    }
}

/// Whether not all tests of both lines can be true of one row: some column is to have different values.
pub(super) fn exclude(a: &[Test], b: &[Test]) -> bool {
    let apart = |a: &Test, b: &Test| match (&a.check, &b.check) {
        (Check::In(one), Check::In(other)) => one.iter().all(|value| !other.contains(value)),
        (Check::In(one), Check::NotIn(other)) => one.iter().all(|value| other.contains(value)),
        (Check::NotIn(one), Check::In(other)) => other.iter().all(|value| one.contains(value)),
        (Check::IsNull, check) | (check, Check::IsNull) => *check != Check::IsNull,
        _ => false,
    };
    a.iter().any(|one| b.iter().any(|other| one.column == other.column && apart(one, other)))
}

/// Reads a condition; `variable` gives the value of `$name`.
pub(super) fn parse<'v>(
    text: &str,
    variable: impl Fn(&str) -> Result<&'v str, String>,
) -> Result<Folded, String> {
    let tokens = tokens(text)?;
    let mut rest = tokens.as_slice();
    let mut any = Vec::new();
    let mut always = false;
    loop {
        let (line, holds) = all(&mut rest, &variable)?;
        match (holds, line.is_empty()) {
            (false, _) => {}
            (true, true) => always = true,
            (true, false) => any.push(line),
        }
        match rest.first() {
            None => break,
            Some(Token::Word(word)) if word == "or" => rest = &rest[1..],
            Some(other) => return Err(format!("\"and\" or \"or\" is expected before {}", other.shown())),
        }
    }
    Ok(match any {
        _ if always => Folded::Always,
        any if any.is_empty() => Folded::Never,
        any => Folded::When(Condition { any }),
    })
}

/// Tests joined by `and`, and whether those of variables hold.
fn all<'v>(
    rest: &mut &[Token],
    variable: &impl Fn(&str) -> Result<&'v str, String>,
) -> Result<(Vec<Test>, bool), String> {
    let (mut line, mut holds) = (Vec::new(), true);
    loop {
        let test = test(rest)?;
        match test.column.strip_prefix('$') {
            None => line.push(test),
            Some(name) => holds &= test.check.holds(variable(name)?)?,
        }
        match rest.first() {
            Some(Token::Word(word)) if word == "and" => *rest = &rest[1..],
            _ => return Ok((line, holds)),
        }
    }
}

impl Check {
    /// Whether it is true of a variable.
    fn holds(&self, variable: &str) -> Result<bool, String> {
        let is = |values: &[Value]| {
            let text = |value: &Value| match value {
                Value::Text(text) => Ok(text == variable),
                other => Err(format!("a variable is text and cannot be compared with {}", other.shown())),
            };
            values.iter().map(text).try_fold(false, |any, one| Ok::<_, String>(any | one?))
        };
        match self {
            Check::IsNull => Ok(false),
            Check::IsNotNull => Ok(true),
            Check::In(values) => is(values),
            Check::NotIn(values) => Ok(!is(values)?),
        }
    }
}

fn test(rest: &mut &[Token]) -> Result<Test, String> {
    let column = match next(rest) {
        Some(Token::Word(word)) if is_name(word.strip_prefix('$').unwrap_or(word)) => word.clone(),
        Some(other) => return Err(format!("a column is expected, not {}", other.shown())),
        None => return Err("a column is expected at the end".to_owned()),
    };
    let check = match next(rest) {
        Some(Token::Equal) => Check::In(vec![value(rest)?]),
        Some(Token::NotEqual) => Check::NotIn(vec![value(rest)?]),
        Some(Token::Word(word)) if word == "in" => Check::In(list(rest)?),
        Some(Token::Word(word)) if word == "is" => {
            let not = matches!(rest.first(), Some(Token::Word(word)) if word == "not");
            *rest = &rest[usize::from(not)..];
            match next(rest) {
                Some(Token::Word(word)) if word == "null" && not => Check::IsNotNull,
                Some(Token::Word(word)) if word == "null" => Check::IsNull,
                _ => return Err(format!("after \"{column} is\" comes null or not null")),
            }
        }
        _ => return Err(format!("after {column} comes is null, is not null, =, <> or in (…)")),
    };
    Ok(Test { column, check })
}

fn value(rest: &mut &[Token]) -> Result<Value, String> {
    match next(rest) {
        Some(Token::Text(text)) => Ok(Value::Text(text.clone())),
        Some(Token::Number(number)) => Ok(Value::Number(shortest(number))),
        Some(Token::Word(word)) if word == "true" || word == "false" => Ok(Value::Boolean(word == "true")),
        Some(other) => {
            Err(format!("a value is expected ('text', a number, true or false), not {}", other.shown()))
        }
        None => Err("a value is expected at the end".to_owned()),
    }
}

/// A number without zeros that do not count, so that equal numbers are equal texts.
fn shortest(number: &str) -> String {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let mut digits = digits.trim_start_matches('0');
    if digits.contains('.') {
        digits = digits.trim_end_matches('0').trim_end_matches('.');
    }
    match digits {
        "" => "0".to_owned(),
        _ if digits.starts_with('.') => format!("{sign}0{digits}"),
        _ => format!("{sign}{digits}"),
    }
}

fn list(rest: &mut &[Token]) -> Result<Vec<Value>, String> {
    if next(rest) != Some(&Token::Open) {
        return Err("after \"in\" comes a list in brackets".to_owned());
    }
    let mut values = vec![value(rest)?];
    loop {
        match next(rest) {
            Some(Token::Comma) => values.push(value(rest)?),
            Some(Token::Close) => return Ok(values),
            _ => return Err("a list is closed by )".to_owned()),
        }
    }
}

fn next<'t>(rest: &mut &'t [Token]) -> Option<&'t Token> {
    let (first, others) = rest.split_first()?;
    *rest = others;
    Some(first)
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Number(String),
    Equal,
    NotEqual,
    Open,
    Close,
    Comma,
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Token::Word(word) => format!("\"{word}\""),
            Token::Text(text) => format!("'{text}'"),
            Token::Number(number) => number.clone(),
            Token::Equal => "=".to_owned(),
            Token::NotEqual => "<>".to_owned(),
            Token::Open => "(".to_owned(),
            Token::Close => ")".to_owned(),
            Token::Comma => ",".to_owned(),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '=' => (Token::Equal, 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '<' if rest.starts_with("<>") => (Token::NotEqual, 2),
            '\'' => quoted(rest)?,
            c if c.is_ascii_alphabetic() || c == '_' || c == '$' => {
                let length = run(rest, |c| c.is_ascii_alphanumeric() || c == '_' || c == '$');
                (Token::Word(rest[..length].to_owned()), length)
            }
            c if c.is_ascii_digit() || c == '-' => {
                let length = run(rest, |c| c.is_ascii_digit() || c == '-' || c == '.');
                (Token::Number(rest[..length].to_owned()), length)
            }
            other => return Err(format!("\"{other}\" is not understood in a condition")),
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// A text in quotes, a quote within it doubled, and its length with them.
fn quoted(rest: &str) -> Result<(Token, usize), String> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != '\'' {
            text.push(c);
        } else if chars.next_if(|(_, c)| *c == '\'').is_some() {
            text.push('\'');
        } else {
            return Ok((Token::Text(text), at + 1));
        }
    }
    Err("a text is not closed by '".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Folded, String> {
        parse(text, |name| if name == "us_core" { Ok("7.0.0") } else { Err(format!("no ${name}")) })
    }

    fn test(column: &str, check: Check) -> Test {
        Test { column: column.to_owned(), check }
    }

    #[test]
    fn and_binds_tighter_than_or() {
        let condition =
            parsed("a is null and b is not null or c <> 'it''s' and d in (1, -2.50, true)").unwrap();
        let text = Value::Text("it's".into());
        let list = vec![Value::Number("1".into()), Value::Number("-2.5".into()), Value::Boolean(true)];
        let any = vec![
            vec![test("a", Check::IsNull), test("b", Check::IsNotNull)],
            vec![test("c", Check::NotIn(vec![text])), test("d", Check::In(list))],
        ];
        assert_eq!(condition, Folded::When(Condition { any }));
    }

    #[test]
    fn a_variable_is_put_in() {
        assert_eq!(parsed("$us_core = '7.0.0'").unwrap(), Folded::Always);
        assert_eq!(parsed("$us_core = '6.1.0' and a is null").unwrap(), Folded::Never);
        let any = vec![vec![test("a", Check::IsNull)]];
        assert_eq!(parsed("$us_core <> '6.1.0' and a is null").unwrap(), Folded::When(Condition { any }));
        assert_eq!(parsed("a is null or $us_core in ('7.0.0')").unwrap(), Folded::Always);
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for wrong in [
            "",
            "a",
            "a =",
            "a is",
            "a = b",
            "a > 1",
            "(a is null)",
            "a is null and",
            "a in 1",
            "a in (1",
            "a = 'x",
            "a is null b is null",
            "$other = 'x'",
            "$us_core = 7",
            "A is null",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn equal_numbers_are_equal_texts() {
        for (number, short) in
            [("0.00", "0"), ("-0", "0"), ("007.10", "7.1"), ("-0.50", "-0.5"), ("100", "100")]
        {
            assert_eq!(shortest(number), short);
        }
    }

    #[test]
    fn lines_that_want_different_values_exclude_each_other() {
        let lines = |text: &str| match parsed(text).unwrap() {
            Folded::When(condition) => condition.any,
            other => panic!("{other:?}"),
        };
        let excluded = |a: &str, b: &str| exclude(&lines(a)[0], &lines(b)[0]);
        assert!(excluded("k = 'a' and x is null", "k in ('b', 'c')"));
        assert!(excluded("k = 'a'", "k <> 'a'") && excluded("k <> 'a'", "k = 'a'"));
        assert!(excluded("k is null", "k = 'a'") && excluded("k is not null", "k is null"));
        assert!(!excluded("k = 'a'", "k in ('a', 'b')") && !excluded("k = 'a'", "j = 'b'"));
        assert!(!excluded("k <> 'a'", "k <> 'b'") && !excluded("n = 0", "n = 0.00"));
    }

    #[test]
    fn a_value_must_fit_its_column() {
        let equals = |value| test("c", Check::In(vec![value]));
        assert!(equals(Value::Text("x".into())).check_type(ColumnType::Text).is_ok());
        assert!(equals(Value::Number("1".into())).check_type(ColumnType::Bigint).is_ok());
        assert!(equals(Value::Number("1.5".into())).check_type(ColumnType::Numeric).is_ok());
        for (value, column) in [
            (Value::Number("1".into()), ColumnType::Text),
            (Value::Number("1.5".into()), ColumnType::Integer),
            (Value::Number("1-".into()), ColumnType::Numeric),
            (Value::Text("x".into()), ColumnType::Uuid),
            (Value::Boolean(true), ColumnType::Smallint),
        ] {
            assert!(equals(value).check_type(column).is_err());
        }
        assert!(test("c", Check::IsNull).check_type(ColumnType::Jsonb).is_ok());
    }
}
