//! `headgate admin vendor …`

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::args::{Change, Limit, Once};
use super::client::AdminClient;
use super::{Shown, given};
use crate::failure::Failure;

/// Third parties that register apps.
#[derive(Debug, Subcommand)]
pub enum VendorCommand {
    /// Add a vendor.
    Create {
        /// Its name.
        #[arg(long)]
        name: String,
        /// Where it can be reached.
        #[arg(long, value_name = "EMAIL")]
        contact_email: String,
        #[command(flatten)]
        once: Once,
    },
    /// Show all vendors; as a vendor, yourself.
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one vendor.
    Show {
        /// Its id.
        vendor_id: String,
    },
    /// Change a vendor's name or address.
    Update {
        /// Its id.
        vendor_id: String,
        /// Its new name.
        #[arg(long)]
        name: Option<String>,
        /// Where it can be reached from now on.
        #[arg(long, value_name = "EMAIL")]
        contact_email: Option<String>,
        #[command(flatten)]
        terms: Change,
    },
    /// Suspend a vendor with all its apps: their running exports end, their tokens are refused.
    Suspend {
        /// Its id.
        vendor_id: String,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        terms: Change,
    },
    /// End a vendor's suspension.
    Resume {
        /// Its id.
        vendor_id: String,
        #[command(flatten)]
        terms: Change,
    },
}

pub(super) async fn run(client: &AdminClient, command: VendorCommand) -> Result<Shown, Failure> {
    Ok(match command {
        VendorCommand::Create { name, contact_email, once } => {
            let body = json!({ "name": name, "contact_email": contact_email });
            Shown::object(client.change(Method::POST, &["vendors"], &body, &once.into()).await?)
        }
        VendorCommand::List { limit } => {
            let columns = ["vendor_id", "name", "contact_email", "suspended", "created_at"];
            Shown::list(client.list(&["vendors"], "vendors", &[], limit.limit).await?, "vendors", columns)
        }
        VendorCommand::Show { vendor_id } => Shown::object(client.get(&["vendors", &vendor_id]).await?),
        VendorCommand::Update { vendor_id, name, contact_email, terms } => {
            let body =
                given([("name", name.map(Into::into)), ("contact_email", contact_email.map(Into::into))]);
            Shown::object(client.change(Method::PATCH, &["vendors", &vendor_id], &body, &terms).await?)
        }
        VendorCommand::Suspend { vendor_id, reason, terms } => {
            let path = ["vendors", &vendor_id, "suspend"];
            let answer = client.change(Method::POST, &path, &json!({ "reason": reason }), &terms).await?;
            Shown::ended(answer, "vendor")
        }
        VendorCommand::Resume { vendor_id, terms } => {
            let path = ["vendors", &vendor_id, "resume"];
            Shown::object(client.change(Method::POST, &path, &json!({}), &terms).await?)
        }
    })
}
