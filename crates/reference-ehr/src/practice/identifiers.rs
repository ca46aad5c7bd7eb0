//! Identifiers with check digits and fixed forms.

use crate::generate::rng::Rng;

/// A National Provider Identifier: ten digits, the last a Luhn check digit over `80840` and the other nine
/// (45 CFR 162.406; US Core, us-core-16 and us-core-17).
pub(super) fn npi(rng: &mut Rng) -> String {
    let nine = format!("1{}", rng.digits(8));
    let digit = (10 - luhn_sum(&format!("80840{nine}0")) % 10) % 10;
    format!("{nine}{digit}")
}

/// The sum of the Luhn algorithm, which is a multiple of ten for a number with a valid check digit.
pub(super) fn luhn_sum(number: &str) -> u32 {
    let digits = number.bytes().rev().map(|digit| u32::from(digit - b'0'));
    digits
        .enumerate()
        .map(|(place, digit)| if place % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { digit })
        .sum()
}

/// A number of the Clinical Laboratory Improvement Amendments: ten characters, the third a `D`
/// (us-core-18).
pub(super) fn clia(rng: &mut Rng) -> String {
    format!("{}D{}", rng.digits(2), rng.digits(7))
}

/// A company code of the National Association of Insurance Commissioners: five digits (us-core-19).
pub(super) fn naic(rng: &mut Rng) -> String {
    rng.digits(5)
}

/// A telephone number that nobody has: 555-01xx is reserved for fiction (ATIS-0300115).
pub(crate) fn phone(rng: &mut Rng) -> String {
    format!("({}) 555-01{}", rng.between(201, 989), rng.digits(2))
}

/// A device identifier: a GTIN of 14 digits with its check digit (GS1 General Specifications, 7.9).
pub(super) fn gtin(rng: &mut Rng) -> String {
    let thirteen = format!("0{}", rng.digits(12));
    let sum: u32 = thirteen
        .bytes()
        .enumerate()
        .map(|(place, digit)| u32::from(digit - b'0') * if place % 2 == 0 { 3 } else { 1 })
        .sum();
    format!("{thirteen}{}", (10 - sum % 10) % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_digit_of_an_npi_is_valid() {
        assert_eq!(luhn_sum("808401234567893") % 10, 0, "the example of the NPI final rule");
        let mut rng = Rng::new(5, 0);
        for _ in 0..100 {
            let npi = npi(&mut rng);
            assert_eq!((npi.len(), luhn_sum(&format!("80840{npi}")) % 10), (10, 0), "{npi}");
        }
    }

    #[test]
    fn other_numbers_have_their_form() {
        let mut rng = Rng::new(5, 0);
        let clia = clia(&mut rng);
        assert!(clia.len() == 10 && clia.as_bytes()[2] == b'D', "{clia}");
        let gtin = gtin(&mut rng);
        let weighted: u32 = gtin
            .bytes()
            .enumerate()
            .map(|(place, digit)| u32::from(digit - b'0') * if place % 2 == 0 { 3 } else { 1 })
            .sum();
        assert!(gtin.len() == 14 && weighted.is_multiple_of(10), "{gtin}");
    }
}
