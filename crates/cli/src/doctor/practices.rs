//! Which practices there are to look at.

use headgate_domain::PracticeNumber;
use headgate_store::{PracticeRecord, Store};

use super::finding::Finding;
use crate::failure::with_causes;

/// Those that are wanted, or all where none is named.
pub async fn choose(store: &Store, wanted: &[PracticeNumber]) -> (Vec<Finding>, Vec<PracticeRecord>) {
    const CHECK: &str = "practices";
    let all = match store.practices().await {
        Ok(all) => all,
        Err(error) => {
            return (vec![Finding::failed(CHECK, with_causes(&error), "see the server's log")], Vec::new());
        }
    };
    if wanted.is_empty() {
        let found = match all.len() {
            0 => Finding::warning(CHECK, "there is none", "add one with `headgate admin practice create`"),
            count => Finding::ok(CHECK, format!("{count} to look at")),
        };
        return (vec![found], all);
    }
    let number = |record: &PracticeRecord| record.practice.number;
    let unknown = wanted.iter().filter(|wanted| !all.iter().any(|record| number(record) == **wanted));
    let mend = "see `headgate admin practice list`";
    let findings = unknown
        .map(|wanted| Finding::failed(CHECK, format!("there is no practice {wanted}"), mend))
        .collect();
    (findings, all.into_iter().filter(|record| wanted.contains(&number(record))).collect())
}
