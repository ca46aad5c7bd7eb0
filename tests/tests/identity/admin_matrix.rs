//! Who may do what at the admin API: the whole matrix of the test kit.

use anyhow::{Result, ensure};
use headgate_testkit::TestApp;
use headgate_testkit::matrix::Matrix;

use crate::scene::alone;

#[test]
fn everybody_gets_as_far_as_they_may_and_foreign_ids_are_as_unknown_ones() -> Result<()> {
    alone(async || {
        let app = TestApp::start().await?;
        let matrix = Matrix::of(&app).await?;
        ensure!(matrix.operations() > 40 && matrix.rows().len() > 400, "{}", matrix.table());
        ensure!(matrix.holes().is_empty(), "{}\n{}", matrix.holes().join("\n"), matrix.table());
        app.stop().await;
        Ok(())
    })
}
