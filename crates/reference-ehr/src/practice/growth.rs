//! How children grow: medians by age and sex (WHO child growth standards to two years, CDC growth charts
//! after), and percentiles of what was measured.
//!
//! Integers only. The spread about the median is simplified to a constant share of it, which is near enough
//! to the charts for synthetic data.

/// Age in months, length or height in millimetres, weight in units of 10 g, head circumference in
/// millimetres (0 after three years).
type Row = (i64, i64, i64, i64);

static BOYS: [Row; 27] = [
    (0, 499, 335, 345),
    (1, 547, 447, 373),
    (2, 584, 557, 391),
    (4, 639, 700, 416),
    (6, 676, 793, 433),
    (9, 720, 890, 450),
    (12, 757, 965, 461),
    (15, 791, 1030, 468),
    (18, 823, 1090, 474),
    (24, 871, 1215, 483),
    (30, 919, 1330, 489),
    (36, 961, 1430, 495),
    (48, 1025, 1630, 0),
    (60, 1090, 1840, 0),
    (72, 1155, 2070, 0),
    (84, 1219, 2290, 0),
    (96, 1280, 2560, 0),
    (108, 1335, 2860, 0),
    (120, 1386, 3190, 0),
    (132, 1435, 3570, 0),
    (144, 1491, 4050, 0),
    (156, 1562, 4570, 0),
    (168, 1638, 5100, 0),
    (180, 1701, 5670, 0),
    (192, 1736, 6130, 0),
    (204, 1755, 6470, 0),
    (216, 1762, 6720, 0),
];

static GIRLS: [Row; 27] = [
    (0, 491, 323, 339),
    (1, 537, 419, 365),
    (2, 571, 513, 383),
    (4, 621, 642, 406),
    (6, 657, 730, 422),
    (9, 701, 824, 438),
    (12, 740, 895, 449),
    (15, 775, 964, 457),
    (18, 807, 1020, 462),
    (24, 857, 1150, 472),
    (30, 907, 1270, 479),
    (36, 951, 1390, 485),
    (48, 1010, 1610, 0),
    (60, 1080, 1820, 0),
    (72, 1150, 2020, 0),
    (84, 1218, 2280, 0),
    (96, 1278, 2580, 0),
    (108, 1331, 2900, 0),
    (120, 1384, 3290, 0),
    (132, 1444, 3720, 0),
    (144, 1515, 4180, 0),
    (156, 1571, 4580, 0),
    (168, 1604, 4930, 0),
    (180, 1619, 5200, 0),
    (192, 1625, 5390, 0),
    (204, 1629, 5530, 0),
    (216, 1631, 5620, 0),
];

/// Head circumference is measured up to this age.
pub(super) const HEAD_MONTHS: i64 = 36;

/// Weight is compared to length before this age, body mass to age after.
pub(super) const BMI_MONTHS: i64 = 24;

/// Where childhood ends in these tables.
pub(super) const GROWN_MONTHS: i64 = 216;

/// What a child of an age measures at the median.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Median {
    pub height_mm: i64,
    pub weight_dag: i64,
    pub head_mm: i64,
}

/// The medians of an age in months, between the rows of the tables in proportion.
pub(super) fn median(female: bool, months: i64) -> Median {
    let rows = if female { &GIRLS } else { &BOYS };
    let months = months.clamp(0, GROWN_MONTHS);
    let above = rows.iter().position(|row| row.0 >= months).unwrap_or(rows.len() - 1);
    let (high, low) = (rows[above], rows[above.saturating_sub(1)]);
    let between = |low_value: i64, high_value: i64| match high.0 - low.0 {
        0 => high_value,
        span => low_value + (high_value - low_value) * (months - low.0) / span,
    };
    let head_mm = if months <= HEAD_MONTHS { between(low.3, high.3) } else { 0 };
    Median { height_mm: between(low.1, high.1), weight_dag: between(low.2, high.2), head_mm }
}

/// `value` moved from its median by `tenths` of a standard deviation, which is `per_mille` of the median.
pub(super) fn spread(median: i64, tenths: i64, per_mille: i64) -> i64 {
    median + median * tenths * per_mille / 10_000
}

/// The percentile of a value, from 1 to 99, whose standard deviation is `per_mille` of the median.
pub(super) fn percentile(value: i64, median: i64, per_mille: i64) -> i64 {
    /// The normal distribution function at 0.0, 0.1, ... 2.3 standard deviations, in per cent.
    const NORMAL: [i64; 24] =
        [50, 54, 58, 62, 66, 69, 73, 76, 79, 82, 84, 86, 88, 90, 92, 93, 95, 96, 96, 97, 98, 98, 99, 99];
    let tenths = (value - median) * 10_000 / (median * per_mille).max(1);
    let place = usize::try_from(tenths.unsigned_abs()).unwrap_or(usize::MAX).min(NORMAL.len() - 1);
    if tenths < 0 { 100 - NORMAL[place] } else { NORMAL[place] }
}

/// Body mass index in tenths of kg/m2, rounded half up.
pub(super) fn bmi_tenths(height_mm: i64, weight_dag: i64) -> i64 {
    let square = (height_mm * height_mm).max(1);
    (2 * 100_000 * weight_dag + square) / (2 * square)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_taken_between_the_rows() {
        assert_eq!(median(true, 0), Median { height_mm: 491, weight_dag: 323, head_mm: 339 });
        assert_eq!(median(false, 3).height_mm, 611);
        assert_eq!(median(false, 40).head_mm, 0);
        assert_eq!(median(false, 999), median(false, GROWN_MONTHS));
    }

    #[test]
    fn a_percentile_tells_how_far_from_the_median_a_child_is() {
        assert_eq!(percentile(1000, 1000, 40), 50);
        assert_eq!(percentile(spread(1000, 10, 40), 1000, 40), 84);
        assert_eq!(percentile(spread(1000, -10, 40), 1000, 40), 16);
        assert_eq!((percentile(1, 1000, 40), percentile(9000, 1000, 40)), (1, 99));
    }

    #[test]
    fn body_mass_index_is_weight_by_the_square_of_height() {
        assert_eq!(bmi_tenths(1750, 7000), 229);
    }
}
