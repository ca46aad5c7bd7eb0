//! Decimals with the digits they have.

/// A decimal as PostgreSQL holds it: digits to the base 10,000, most significant first, and how many decimal
/// places are shown. `7.10` has the digits 7 and 1000, the weight 0 and the scale 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal<'a> {
    /// Whether it is below zero.
    pub negative: bool,
    /// Power of 10,000 of the first digit.
    pub weight: i16,
    /// Decimal places.
    pub scale: u16,
    /// The digits, each a big-endian 16-bit number, without zeros at either end; none: zero.
    pub digits: &'a [u8],
}

impl Decimal<'_> {
    fn digit(&self, power: i32) -> u16 {
        let index = usize::try_from(i32::from(self.weight) - power).ok();
        let pair = index.and_then(|i| self.digits.get(2 * i..2 * i + 2));
        pair.map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    /// Writes it as PostgreSQL does, never with an exponent.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
        let first = i32::from(self.weight).max(0);
        for power in (0..=first).rev() {
            let digits = four(self.digit(power));
            let skip =
                if power == first { digits.iter().take(3).take_while(|d| **d == b'0').count() } else { 0 };
            out.extend_from_slice(&digits[skip..]);
        }
        if self.scale > 0 {
            out.push(b'.');
            let mut left = usize::from(self.scale);
            let mut power = -1;
            while left > 0 {
                let take = left.min(4);
                out.extend_from_slice(&four(self.digit(power))[..take]);
                (left, power) = (left - take, power - 1);
            }
        }
    }
}

fn four(digit: u16) -> [u8; 4] {
    let place = |unit: u16| b'0' + u8::try_from(digit / unit % 10).unwrap_or_default();
    [place(1000), place(100), place(10), place(1)]
}

/// A decimal of a condition, to be compared by value: `0.00` equals `0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Literal {
    negative: bool,
    weight: i16,
    digits: Vec<u8>,
}

impl Literal {
    /// Reads `-12.50`; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
        let is_digits =
            |part: &str| !part.is_empty() && part.len() <= 60 && part.bytes().all(|b| b.is_ascii_digit());
        if !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        let whole_groups = whole.len().div_ceil(4);
        let mut decimal = "0".repeat(whole_groups * 4 - whole.len());
        decimal.push_str(whole);
        decimal.push_str(fraction);
        decimal.push_str(&"0".repeat(fraction.len().div_ceil(4) * 4 - fraction.len()));
        let mut groups: Vec<u16> =
            (0..decimal.len() / 4).map(|i| decimal[4 * i..4 * i + 4].parse().unwrap_or_default()).collect();
        while groups.last() == Some(&0) {
            groups.pop();
        }
        let zeros = groups.iter().take_while(|group| **group == 0).count();
        groups.drain(..zeros);
        let weight = i16::try_from(whole_groups).ok()? - 1 - i16::try_from(zeros).ok()?;
        let is_zero = groups.is_empty();
        Some(Self {
            negative: text.starts_with('-') && !is_zero,
            weight: if is_zero { 0 } else { weight },
            digits: groups.into_iter().flat_map(u16::to_be_bytes).collect(),
        })
    }

    /// Whether the value is the same.
    pub fn equals(&self, value: &Decimal<'_>) -> bool {
        self.digits == value.digits
            && (self.digits.is_empty() || (self.negative == value.negative && self.weight == value.weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(negative: bool, weight: i16, scale: u16, digits: &[u16]) -> String {
        let digits: Vec<u8> = digits.iter().flat_map(|d| d.to_be_bytes()).collect();
        let mut out = Vec::new();
        Decimal { negative, weight, scale, digits: &digits }.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn digits_are_kept_as_they_are() {
        assert_eq!(written(false, 0, 2, &[7, 1000]), "7.10");
        assert_eq!(written(false, 0, 0, &[]), "0");
        assert_eq!(written(false, 0, 3, &[]), "0.000");
        assert_eq!(written(true, -1, 2, &[500]), "-0.05");
        assert_eq!(written(false, -2, 6, &[1200]), "0.000012");
        assert_eq!(written(false, 1, 0, &[1]), "10000");
        assert_eq!(written(false, 2, 5, &[12, 34, 5, 6, 7000]), "1200340005.00067");
    }

    #[test]
    fn a_literal_equals_every_way_of_writing_its_value() {
        let digits = [0, 7, 3, 232]; // 7, 1000
        let seven = Decimal { negative: false, weight: 0, scale: 2, digits: &digits };
        for same in ["7.1", "7.10", "007.1000000"] {
            assert!(Literal::parse(same).unwrap().equals(&seven), "{same}");
        }
        for other in ["-7.1", "7", "70000.1", "0.00071"] {
            assert!(!Literal::parse(other).unwrap().equals(&seven), "{other}");
        }
        let zero = Decimal { negative: false, weight: 0, scale: 2, digits: &[] };
        assert!(Literal::parse("-0.00").unwrap().equals(&zero));
        for wrong in ["", "-", "1.", ".5", "1e3", "--1", "1.2.3"] {
            assert!(Literal::parse(wrong).is_none(), "{wrong}");
        }
    }
}
