//! Whether housekeeping is done, which any worker does: so this tells, too, whether one is there.

use headgate_store::{Store, TaskFacts};

use super::finding::Finding;
use crate::failure::with_causes;

const CHECK: &str = "housekeeping";

/// The most frequent task is run every five seconds.
const SILENT_S: i64 = 60;

/// Looks at when the tasks ran.
pub async fn check(store: &Store) -> Vec<Finding> {
    vec![match store.task_facts().await {
        Ok(tasks) => judge(&tasks),
        Err(error) => Finding::failed(CHECK, with_causes(&error), "see the server's log"),
    }]
}

fn judge(tasks: &[TaskFacts]) -> Finding {
    let Some(latest) = tasks.iter().filter_map(|task| task.ran_s_ago).min() else {
        return Finding::warning(CHECK, "no worker has ever run", "start `headgate worker`");
    };
    if latest > SILENT_S {
        let found = format!("no worker has been seen for {latest} s");
        return Finding::warning(CHECK, found, "start `headgate worker`, or see its log");
    }
    let named =
        |tasks: Vec<&TaskFacts>| tasks.iter().map(|task| task.task.as_str()).collect::<Vec<_>>().join(", ");
    // How it went is a count, or an error.
    let has_failed =
        |task: &&TaskFacts| task.last_result.as_deref().is_some_and(|result| result.parse::<u64>().is_err());
    let failed: Vec<_> = tasks.iter().filter(has_failed).collect();
    if !failed.is_empty() {
        let found = format!("the last run failed: {}", named(failed));
        return Finding::warning(CHECK, found, "see the workers' log for `housekeeping failed`");
    }
    let overdue: Vec<_> =
        tasks.iter().filter(|task| task.overdue_s > SILENT_S + task.every_s.min(600)).collect();
    if !overdue.is_empty() {
        let found = format!("overdue: {}", named(overdue));
        return Finding::warning(
            CHECK,
            found,
            "see the workers' log: a task may be stuck, or no worker knows it",
        );
    }
    Finding::ok(CHECK, format!("{} tasks, the last one ran {latest} s ago", tasks.len()))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    fn task(name: &str, overdue_s: i64, ran_s_ago: Option<i64>, result: &str) -> TaskFacts {
        let last_result = ran_s_ago.is_some().then(|| result.to_owned());
        TaskFacts { task: name.to_owned(), every_s: 5, overdue_s, ran_s_ago, last_result }
    }

    #[test]
    fn what_is_not_done_is_told() {
        let fine = task("reconcile", -2, Some(3), "0");
        assert_eq!(judge(std::slice::from_ref(&fine)).verdict, Verdict::Ok);
        for (tasks, told) in [
            (vec![task("reconcile", 10, None, "")], "ever"),
            (vec![task("reconcile", 70, Some(75), "0")], "75 s"),
            (vec![fine.clone(), task("sweep", -9, Some(9), "SQLSTATE 42501")], "failed: sweep"),
            (vec![fine.clone(), task("sweep", 66, Some(90), "0")], "overdue: sweep"),
        ] {
            let finding = judge(&tasks);
            assert_eq!(finding.verdict, Verdict::Warning);
            assert!(finding.found.contains(told), "{finding:?}");
        }
    }
}
