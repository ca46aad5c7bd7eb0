//! What to try while the demo is up: commands that can be pasted as they are.

use std::path::Path;

use super::credentials::{Credentials, FILE, KEY_FILE, TOKEN_FILE};
use super::folder::{EXPORTS, Folder, LOG};
use super::registration::GROUP;
use super::secrets::ADMIN_KEY_FILE;

/// The text, for a terminal in any folder.
pub(super) fn text(credentials: &Credentials, folder: &Folder) -> String {
    let practice = &credentials.practices[0];
    let path = |name: &str| shell_word(&folder.path().join(name));
    let headgate =
        std::env::current_exe().map_or_else(|_| "headgate".to_owned(), |program| shell_word(&program));
    let app = format!(
        "--base-url {} \\\n    --client-id {} --key {}",
        practice.base_url,
        credentials.client_id,
        path(KEY_FILE),
    );
    // Our own commands, and curl.
    let trust = credentials.ca_file.as_ref().map_or_else(String::new, |ca| {
        let ca = shell_word(ca);
        format!("\n# The certificate is the demo's own\nexport HEADGATE_CA_FILE={ca} CURL_CA_BUNDLE={ca}\n")
    });
    format!(
        "
Everything is up until Ctrl-C. In another terminal:
{trust}
# Every address, key and database URL
cat {credentials}

# What the practice's server says of itself
curl -s {base}/.well-known/smart-configuration
curl -s {base}/metadata

# Export again: two types of all patients; the group
{headgate} export {app} \\
    --type Patient,Condition --out {exports}/again
{headgate} export {app} \\
    --level group:{GROUP} --out {exports}/again-group

# The same by hand: a token, a kick-off; then poll the URL in Content-Location with the same token
TOKEN=$({headgate} token --bare {app})
curl -i '{base}/Patient/$export' -H \"Authorization: Bearer $TOKEN\" \\
    -H 'Accept: application/fhir+json' -H 'Prefer: respond-async'

# As the operator: the exports; then take the practice's consent away
export HEADGATE_ADMIN_URL={admin} HEADGATE_ADMIN_TOKEN=$(cat {token})
{headgate} admin export list --practice {number}
{headgate} admin consent revoke --practice {number} --app {client} --reason 'end of study'

# Who did what, and whether the record of it is whole; a token of an hour for the practice's own administrator
{headgate} admin audit list --limit 20
{headgate} admin audit verify
{headgate} admin token --key {admin_key} --role practice-admin --practice {number} --subject ann

# The practice's database, and whether it keeps the source contract; the engine's own tables
psql '{ehr}' -c 'SELECT id, last_updated FROM fhir_export.patient LIMIT 5'
{headgate} source check --dsn '{reader}'
psql '{control}' -c 'SELECT state, count(*) FROM headgate.export GROUP BY state'

# The engine's log
tail -f {log}
",
        credentials = path(FILE),
        base = practice.base_url,
        exports = path(EXPORTS),
        admin = credentials.admin_url,
        token = path(TOKEN_FILE),
        admin_key = path(ADMIN_KEY_FILE),
        number = practice.number,
        client = credentials.client_id,
        ehr = practice.database_url,
        reader = practice.reader_url,
        control = credentials.control_database_url,
        log = path(LOG),
    )
}

/// A path as one word of the shell.
pub(super) fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+".contains(&b);
    if text.bytes().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
