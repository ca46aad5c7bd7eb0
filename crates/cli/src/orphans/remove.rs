//! Deleting folders that belong to no export.

use headgate_domain::ExportId;
use headgate_objects::Objects;
use headgate_store::{Audit, Store};
use serde_json::json;

use super::folders::{Folder, State};
use super::keys_out::KeysOut;
use crate::failure::Failure;

/// Who the audit trail says it was: whoever may run this has no name there.
const ACTOR: &str = "headgate";

/// Writes the keys down, and deletes exactly those if that is wanted. The folders come back with what became of them,
/// also if it failed on the way.
pub async fn remove(
    store: &Store,
    objects: &Objects,
    mut found: Vec<Folder>,
    keys_out: Option<&mut KeysOut>,
    delete: bool,
) -> (Vec<Folder>, Result<(), Failure>) {
    let ended = async {
        if !delete && keys_out.is_none() {
            return Ok(());
        }
        let mut orphans: Vec<_> = found.iter_mut().filter(|folder| folder.state == State::Orphan).collect();
        let mut keys = Vec::new();
        for folder in &orphans {
            keys.push(objects.list(&folder.prefix, usize::MAX).await?);
        }
        if let Some(out) = keys_out {
            keys.iter().try_for_each(|keys| out.add(keys))?;
            out.keep()?;
        }
        if delete {
            for (folder, keys) in orphans.iter_mut().zip(keys) {
                remove_one(store, objects, folder, keys).await?;
            }
        }
        Ok(())
    }
    .await;
    (found, ended)
}

async fn remove_one(
    store: &Store,
    objects: &Objects,
    folder: &mut Folder,
    keys: Vec<String>,
) -> Result<(), Failure> {
    let Some(export) = folder.export.clone() else { return Ok(()) };
    if is_known(store, &export).await? {
        return Err(Failure::failed(format!("the export {export} is known by now: look again")));
    }
    folder.objects = keys.len() as u64;
    let fact = Audit::new(ACTOR, "orphan.deleted")
        .at(folder.practice)
        .about_export(&export)
        .with(json!({ "objects": folder.objects, "bytes": folder.bytes }));
    // Before the deed, which is in another system: a folder that the trail does not know of must not vanish.
    store.record(&fact).await?;
    objects.delete(keys).await?;
    folder.state = State::Deleted;
    Ok(())
}

async fn is_known(store: &Store, export: &ExportId) -> Result<bool, Failure> {
    Ok(!store.known_exports(std::slice::from_ref(export)).await?.is_empty())
}
