//! Names and places. Made up by combining lists, so nobody is meant; many scripts and both forms of
//! accents (composed, and with combining characters), because real patients have such names.

pub(crate) static FAMILY: [&str; 28] = [
    "Abbott",
    "Alvarez",
    "Núñez",
    "Müller",
    "O'Connor",
    "Nguyễn",
    "Wójcik",
    "Søndergaard",
    "Çelik",
    "Johnson",
    "Garci\u{301}a",
    "Zhang",
    "王",
    "Ивано́ва",
    "Παππάς",
    "Haddad",
    "Okafor",
    "Smith-Jones",
    "D’Angelo",
    "Ba\u{308}cker",
    "Kowalski",
    "Nakamura",
    "Singh",
    "Van der Berg",
    "Ólafsdóttir",
    "Williams",
    "Brown",
    "Þórsson",
];

pub(crate) static FEMALE: [&str; 14] = [
    "Zoë",
    "Ame\u{301}lie",
    "Maria",
    "Trần",
    "Łucja",
    "Siobhán",
    "芳",
    "Анна",
    "Grace",
    "Aisha",
    "Linnéa",
    "Ifeoma",
    "Charlotte",
    "Priya",
];

pub(crate) static MALE: [&str; 14] = [
    "José",
    "Rene\u{301}",
    "James",
    "Đức",
    "Paweł",
    "Søren",
    "伟",
    "Дмитрий",
    "Malik",
    "Chukwu",
    "Björn",
    "Arjun",
    "Thomas",
    "Ġorġ",
];

/// City, state and ZIP code.
pub(crate) static CITIES: [(&str, &str, &str); 6] = [
    ("Springfield", "MA", "01103"),
    ("Worcester", "MA", "01608"),
    ("Cañon City", "CO", "81212"),
    ("Boca Raton", "FL", "33432"),
    ("Española", "NM", "87532"),
    ("Madison", "WI", "53703"),
];

pub(crate) static STREETS: [&str; 6] =
    ["Main Street", "Elm Avenue", "Calle de la Peña", "Lake Shore Drive", "3rd Street \"Rear\"", "Mill Road"];

/// Sentences of a visit note. They hold what breaks careless code: quotes, backslashes, line feeds, tabs,
/// and U+2028, which is a legal character of a JSON string and not the end of a line.
pub(crate) static NOTES: [&str; 7] = [
    "Patient reports feeling \"much better\" since the last visit.",
    "Plan:\n\t- continue present medication\n\t- return in 3 months",
    "Scanned letter kept under C:\\letters\\2024\\inbound.",
    "Discussed diet & exercise; 50 % of the visit was counseling <15 min>.",
    "Exam unremarkable.\u{2028}No acute distress.",
    "Patientin spricht überwiegend Deutsch – Dolmetscher nicht nötig.",
    "Ratio 1/2, \\alpha-blocker stopped, temp 98.60 °F.\r\nSigned electronically.",
];

/// Race and ethnicity in the codes of `urn:oid:2.16.840.1.113883.6.238`, and display.
pub(crate) static RACES: [(&str, &str); 4] = [
    ("2106-3", "White"),
    ("2054-5", "Black or African American"),
    ("2028-9", "Asian"),
    ("1002-5", "American Indian or Alaska Native"),
];

pub(crate) static ETHNICITIES: [(&str, &str); 2] =
    [("2186-5", "Not Hispanic or Latino"), ("2135-2", "Hispanic or Latino")];

/// Language code (BCP 47) and display.
pub(crate) static LANGUAGES: [(&str, &str); 3] = [("en", "English"), ("es", "Spanish"), ("vi", "Vietnamese")];
