//! Lists in pages: each page says with which key the next one begins, so that rows which come and go meanwhile
//! neither repeat a row nor hide one.

use chrono::{DateTime, Utc};

use crate::{Error, Result};

/// Which page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Rows at most.
    pub limit: u32,
    /// The `next` of the page before; none: the first page.
    pub after: Option<String>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paged<T> {
    /// The rows.
    pub items: Vec<T>,
    /// With what to ask for the next page; none: this was the last one.
    pub next: Option<String>,
}

impl Page {
    /// The first page, of so many rows at most.
    #[must_use]
    pub fn first(limit: u32) -> Self {
        Self { limit, after: None }
    }

    /// The rows to select: one more than are shown tells whether there is a next page.
    pub(crate) fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// The key after which the page begins, of a list in the order of one text.
    pub(crate) fn text(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// The key after which the page begins, of a list in the order of a number.
    pub(crate) fn number(&self) -> Result<Option<i64>> {
        self.after.as_deref().map(|key| key.parse().map_err(|_| Error::Cursor)).transpose()
    }

    /// The key after which the page begins, of a list in the order of a number and a text.
    pub(crate) fn number_and_text(&self) -> Result<Option<(i64, &str)>> {
        let Some(key) = self.after.as_deref() else { return Ok(None) };
        let (number, text) = key.split_once('.').ok_or(Error::Cursor)?;
        Ok(Some((number.parse().map_err(|_| Error::Cursor)?, text)))
    }

    /// The key after which the page begins, of a list in the order of a time and a text.
    pub(crate) fn time_and_text(&self) -> Result<Option<(DateTime<Utc>, &str)>> {
        let Some((micros, text)) = self.number_and_text()? else { return Ok(None) };
        Ok(Some((DateTime::from_timestamp_micros(micros).ok_or(Error::Cursor)?, text)))
    }
}

/// The key of a row in a list in the order of a number and a text.
pub(crate) fn number_and_text(number: i64, text: impl std::fmt::Display) -> String {
    format!("{number}.{text}")
}

/// The key of a row in a list in the order of a time and a text.
pub(crate) fn time_and_text(time: DateTime<Utc>, text: impl std::fmt::Display) -> String {
    format!("{}.{text}", time.timestamp_micros())
}

impl<T> Paged<T> {
    /// Makes a page of the selected rows, one more than are shown if there is a next page.
    pub(crate) fn of(mut items: Vec<T>, page: &Page, key: impl Fn(&T) -> String) -> Self {
        let limit = page.limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        Self { next: items.last().filter(|_| more).map(key), items }
    }

    /// The same page of something made of each row.
    pub(crate) fn map<U>(self, make: impl FnMut(T) -> U) -> Paged<U> {
        Paged { items: self.items.into_iter().map(make).collect(), next: self.next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_too_many_only_tells_that_there_is_a_next_page() {
        let page = Page::first(2);
        let paged = Paged::of(vec![1, 2, 3], &page, |n| n.to_string());
        assert_eq!((paged.items, paged.next.as_deref()), (vec![1, 2], Some("2")));
        assert_eq!(Paged::of(vec![1, 2], &page, |n: &i32| n.to_string()).next, None);
    }

    #[test]
    fn a_key_that_is_not_ours_is_refused() {
        let after = |key: &str| Page { limit: 1, after: Some(key.to_owned()) };
        assert!(matches!(after("x").number(), Err(Error::Cursor)));
        for wrong in ["", "7", "x.y", "99999999999999999999.y", "9223372036854775807.y"] {
            assert!(matches!(after(wrong).time_and_text(), Err(Error::Cursor)), "{wrong}");
        }
        let time = DateTime::from_timestamp_micros(1_234_567).unwrap();
        let key = time_and_text(time, "a.b");
        assert_eq!(after(&key).time_and_text().unwrap(), Some((time, "a.b")));
    }
}
