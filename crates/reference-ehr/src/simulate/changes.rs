//! What is changed, taken back and deleted.

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::places::Places;
use crate::database::DatabaseError;
use crate::generate::rng::Rng;

/// Runs a statement on one row. True if it changed something.
async fn change(connection: &mut PgConnection, id: Uuid, sql: &str) -> Result<bool, DatabaseError> {
    Ok(sqlx::query(AssertSqlSafe(sql)).bind(id).execute(connection).await?.rows_affected() > 0)
}

/// Picks a row and runs a statement on it: table, condition, statement.
async fn change_one(
    connection: &mut PgConnection,
    places: &Places,
    rng: &mut Rng,
    (table, condition, sql): (&'static str, &str, &str),
) -> Result<bool, DatabaseError> {
    match places.pick(connection, table, condition, rng).await? {
        Some(id) => change(connection, id, sql).await,
        None => Ok(false),
    }
}

/// A value that was wrong.
pub(super) async fn correction(
    connection: &mut PgConnection,
    places: &Places,
    rng: &mut Rng,
) -> Result<bool, DatabaseError> {
    let corrections = [
        (
            "lab_result",
            "value_num IS NOT NULL AND status = 'final'",
            "UPDATE lab_result SET value_num = round(value_num * 1.05, scale(value_num)), status = 'corrected' WHERE id = $1",
        ),
        (
            "vital_set",
            "systolic IS NOT NULL",
            "UPDATE vital_set SET systolic = least(systolic + 4, 220) WHERE id = $1",
        ),
        (
            "problem",
            "onset IS NOT NULL AND NOT deleted",
            "UPDATE problem SET onset = onset - 7 WHERE id = $1",
        ),
        (
            "prescription",
            "status = 'active'",
            "UPDATE prescription SET status = 'stopped', stopped_at = now() WHERE id = $1",
        ),
        (
            "care_plan",
            "true",
            "UPDATE care_plan SET narrative = left(narrative, 4000) || E'\\nReviewed.' WHERE id = $1",
        ),
        (
            "goal",
            "status = 'active'",
            "UPDATE goal SET due = due + 30, achievement = 'improving' WHERE id = $1",
        ),
        (
            "document",
            "title NOT LIKE '%(amended)'",
            "UPDATE document SET title = title || ' (amended)' WHERE id = $1",
        ),
    ];
    let correction = *rng.pick(&corrections);
    change_one(connection, places, rng, correction).await
}

/// A row that shows up in the resource of its parent.
pub(super) async fn child(
    connection: &mut PgConnection,
    places: &Places,
    rng: &mut Rng,
) -> Result<bool, DatabaseError> {
    let changes = [
        (
            "patient",
            "NOT deleted",
            "INSERT INTO patient_telecom (patient_id, kind, use, value) VALUES ($1, 'email', 'home', 'new@example.org')",
        ),
        ("patient_address", "true", "UPDATE patient_address SET line2 = 'c/o O''Brien & Sons' WHERE id = $1"),
        (
            "patient",
            "NOT deleted",
            "DELETE FROM patient_telecom WHERE id = (SELECT min(id::text)::uuid FROM patient_telecom WHERE patient_id = $1)",
        ),
        (
            "allergy",
            "NOT deleted",
            "INSERT INTO allergy_reaction (allergy_id, snomed, text, severity) VALUES ($1, '418290006', 'Itching', 'mild')",
        ),
        ("allergy", "NOT deleted", "DELETE FROM allergy_reaction WHERE allergy_id = $1"),
        (
            "questionnaire_item",
            "value_text IS NOT NULL AND value_code IS NULL",
            "UPDATE questionnaire_item SET value_text = value_text || ' (sic)' WHERE id = $1",
        ),
    ];
    let change = *rng.pick(&changes);
    change_one(connection, places, rng, change).await
}

/// A record that disappears but can come back.
pub(super) async fn soft_delete(
    connection: &mut PgConnection,
    places: &Places,
    rng: &mut Rng,
) -> Result<bool, DatabaseError> {
    let deletes = [
        ("allergy", "NOT deleted", "UPDATE allergy SET deleted = true WHERE id = $1"),
        // Not what other documents or findings refer to.
        (
            "document",
            "NOT deleted AND NOT is_report AND status = 'current'",
            "UPDATE document SET deleted = true WHERE id = $1",
        ),
    ];
    let delete = *rng.pick(&deletes);
    change_one(connection, places, rng, delete).await
}

pub(super) async fn undelete(
    connection: &mut PgConnection,
    places: &Places,
    rng: &mut Rng,
) -> Result<bool, DatabaseError> {
    let undeletes = [
        ("allergy", "deleted", "UPDATE allergy SET deleted = false WHERE id = $1"),
        ("document", "deleted", "UPDATE document SET deleted = false WHERE id = $1"),
    ];
    let undelete = *rng.pick(&undeletes);
    change_one(connection, places, rng, undelete).await
}

/// A record that is gone for good. Only such as nothing refers to.
pub(super) async fn delete(
    connection: &mut PgConnection,
    places: &Places,
    rng: &mut Rng,
) -> Result<bool, DatabaseError> {
    let deletes = [
        ("immunization", "true", "DELETE FROM immunization WHERE id = $1"),
        ("dispense", "true", "DELETE FROM dispense WHERE id = $1"),
        ("coverage", "true", "DELETE FROM coverage WHERE id = $1"),
        ("goal", "true", "DELETE FROM goal WHERE id = $1"),
        ("lab_result", "status = 'final'", "DELETE FROM lab_result WHERE id = $1"),
    ];
    let delete = *rng.pick(&deletes);
    change_one(connection, places, rng, delete).await
}

/// A sign of a set: one of its Observations is no more.
pub(super) async fn vital_sign_taken_back(
    connection: &mut PgConnection,
    places: &Places,
    rng: &mut Rng,
) -> Result<bool, DatabaseError> {
    let signs = [
        ("vital_set", "heart_rate IS NOT NULL", "UPDATE vital_set SET heart_rate = NULL WHERE id = $1"),
        ("vital_set", "temp_c IS NOT NULL", "UPDATE vital_set SET temp_c = NULL WHERE id = $1"),
        (
            "vital_set",
            "systolic IS NOT NULL",
            "UPDATE vital_set SET systolic = NULL, diastolic = NULL WHERE id = $1",
        ),
        (
            "vital_set",
            "weight_kg IS NOT NULL",
            "UPDATE vital_set SET weight_kg = NULL, bmi = NULL, bmi_pct = NULL, wfl_pct = NULL WHERE id = $1",
        ),
        ("vital_set", "heart_rate IS NULL", "UPDATE vital_set SET heart_rate = 71 WHERE id = $1"),
    ];
    let sign = *rng.pick(&signs);
    change_one(connection, places, rng, sign).await
}

/// Not a delete: the record stays, with another status.
pub(super) async fn entered_in_error(
    connection: &mut PgConnection,
    places: &Places,
    rng: &mut Rng,
) -> Result<bool, DatabaseError> {
    let errors = [
        ("vital_set", "NOT entered_in_error", "UPDATE vital_set SET entered_in_error = true WHERE id = $1"),
        (
            "problem",
            "NOT deleted AND verification <> 'entered-in-error'",
            "UPDATE problem SET verification = 'entered-in-error', clinical_status = NULL, abated = NULL WHERE id = $1",
        ),
        ("finding", "status = 'final'", "UPDATE finding SET status = 'entered-in-error' WHERE id = $1"),
        (
            "immunization",
            "status = 'completed'",
            "UPDATE immunization SET status = 'entered-in-error' WHERE id = $1",
        ),
    ];
    let error = *rng.pick(&errors);
    change_one(connection, places, rng, error).await
}

/// Two patients who were one.
pub(super) async fn merge(
    connection: &mut PgConnection,
    places: &Places,
    rng: &mut Rng,
) -> Result<bool, DatabaseError> {
    let loser = places.patient(connection, rng).await?;
    let winner = places.patient(connection, rng).await?;
    let (Some(loser), Some(winner)) = (loser, winner) else { return Ok(false) };
    if loser == winner {
        return Ok(false);
    }
    sqlx::query("SELECT merge_patient($1, $2)").bind(loser).bind(winner).execute(connection).await?;
    Ok(true)
}

pub(super) async fn group_joined(
    connection: &mut PgConnection,
    places: &Places,
    rng: &mut Rng,
) -> Result<bool, DatabaseError> {
    let Some(patient) = places.patient(connection, rng).await? else { return Ok(false) };
    if places.groups.is_empty() {
        return Ok(false);
    }
    let joined = sqlx::query(
        "INSERT INTO patient_group_member (group_id, patient_id)
         SELECT $1, $2 WHERE NOT EXISTS (
             SELECT FROM patient_group_member WHERE group_id = $1 AND patient_id = $2 AND removed_at IS NULL)",
    )
    .bind(*rng.pick(&places.groups))
    .bind(patient)
    .execute(connection)
    .await?;
    Ok(joined.rows_affected() > 0)
}

pub(super) async fn group_left(
    connection: &mut PgConnection,
    places: &Places,
    rng: &mut Rng,
) -> Result<bool, DatabaseError> {
    let is_member = "EXISTS (SELECT FROM patient_group_member
         WHERE patient_id = patient.id AND removed_at IS NULL)";
    let leave = "UPDATE patient_group_member SET removed_at = now()
         WHERE patient_id = $1 AND removed_at IS NULL";
    change_one(connection, places, rng, ("patient", is_member, leave)).await
}

/// A new telephone number of a clinician or a site.
pub(super) async fn directory(
    connection: &mut PgConnection,
    places: &Places,
    rng: &mut Rng,
) -> Result<bool, DatabaseError> {
    let (table, id) = match rng.chance(70) {
        true => ("provider", places.provider(rng)),
        false => ("facility", *rng.pick(&places.facilities)),
    };
    let sql = format!("UPDATE {table} SET phone = '(413) 555-01{}' WHERE id = $1", rng.digits(2));
    change(connection, id, &sql).await
}
