//! `headgate admin vendor …`

use clap::Subcommand;
use serde_json::json;

use super::Shown;
use super::client::AdminClient;
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
    },
    /// Show all vendors.
    List,
    /// Show one vendor.
    Show {
        /// Its id.
        vendor_id: String,
    },
}

pub(super) async fn run(client: &AdminClient, command: VendorCommand) -> Result<Shown, Failure> {
    Ok(match command {
        VendorCommand::Create { name, contact_email } => {
            let body = json!({ "name": name, "contact_email": contact_email });
            Shown::object(client.post(&["vendors"], &body).await?)
        }
        VendorCommand::List => {
            let columns = ["vendor_id", "name", "contact_email", "created_at"];
            Shown::list(client.get(&["vendors"]).await?, "vendors", columns)
        }
        VendorCommand::Show { vendor_id } => Shown::object(client.get(&["vendors", &vendor_id]).await?),
    })
}
