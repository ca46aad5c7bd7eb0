//! Whether the two database roles exist and may do what they need, and no more.

use headgate_runtime::Config;
use headgate_store::{RoleFacts, Store};

use super::finding::Finding;
use crate::failure::with_causes;

const CHECK: &str = "database roles";

/// How it is all put right.
const MIGRATE: &str = "`headgate migrate --create-roles`, as the owner of the database";

/// Looks at both.
pub async fn check(config: &Config, store: &Store) -> Vec<Finding> {
    let (api, worker) = (&config.database.api_role, &config.database.worker_role);
    let facts = match store.role_facts(&[api.clone(), worker.clone()]).await {
        Ok(facts) => facts,
        Err(error) => return vec![Finding::failed(CHECK, with_causes(&error), MIGRATE)],
    };
    let of = |name: &str| facts.iter().find(|facts| facts.name == name);
    vec![judge(api, of(api), true), judge(worker, of(worker), false)]
}

fn judge(name: &str, facts: Option<&RoleFacts>, is_api: bool) -> Finding {
    let check = format!("database role {name}");
    let Some(facts) = facts else {
        return Finding::failed(check, "does not exist", MIGRATE);
    };
    if !facts.is_bound {
        let found =
            "row-level security does not bind it: it is a superuser, has BYPASSRLS or owns the tables";
        return Finding::failed(
            check,
            found,
            format!("take that from the role, or name another; then {MIGRATE}"),
        );
    }
    if facts.changes_audit {
        let found = "may change or remove audit events";
        return Finding::failed(check, found, format!("revoke what was granted by hand; then {MIGRATE}"));
    }
    if !is_api && facts.reads_signing_keys {
        let found = "may read the keys of access tokens";
        return Finding::failed(check, found, format!("revoke what was granted by hand; then {MIGRATE}"));
    }
    if !facts.reads_exports || !facts.has_policy || is_api && !facts.reads_signing_keys {
        return Finding::failed(check, "lacks what it needs", MIGRATE);
    }
    if !facts.can_log_in {
        let mend = format!("ALTER ROLE {name} LOGIN, unless the processes log in as a member of it");
        return Finding::warning(check, "may do what it needs, but not log in", mend);
    }
    Finding::ok(check, "may do what it needs; row-level security binds it")
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn a_role_that_may_too_little_or_too_much_fails() {
        let good = RoleFacts {
            name: "r".to_owned(),
            can_log_in: true,
            is_bound: true,
            reads_exports: true,
            reads_signing_keys: true,
            changes_audit: false,
            has_policy: true,
        };
        let verdict = |facts: &RoleFacts, is_api| judge("r", Some(facts), is_api).verdict;
        assert_eq!(verdict(&good, true), Verdict::Ok);
        assert_eq!(verdict(&good, false), Verdict::Failed, "a worker sees no keys");
        let worker = RoleFacts { reads_signing_keys: false, ..good.clone() };
        assert_eq!((verdict(&worker, false), verdict(&worker, true)), (Verdict::Ok, Verdict::Failed));
        for wrong in [
            RoleFacts { is_bound: false, ..good.clone() },
            RoleFacts { reads_exports: false, ..good.clone() },
            RoleFacts { changes_audit: true, ..good.clone() },
            RoleFacts { has_policy: false, ..good.clone() },
        ] {
            assert_eq!(verdict(&wrong, true), Verdict::Failed, "{wrong:?}");
        }
        assert_eq!(verdict(&RoleFacts { can_log_in: false, ..good }, true), Verdict::Warning);
        assert_eq!(judge("r", None, true).verdict, Verdict::Failed);
    }
}
