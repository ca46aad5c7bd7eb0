//! Spans of time as people write them.

use std::time::Duration;

/// Reads `90s`, `30m`, `1h`, `2d`.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || "a time is a number with s, m, h or d behind it".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = text.strip_suffix(unit).unwrap_or_default().parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_a_unit() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("30m", 1800), ("1h", 3600), ("2d", 172_800)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "1", "h", "-1h", "1.5h", "1w", "1ü"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
