//! What is added: visits with what is measured, found and written, prescriptions, patients.

use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::places::Places;
use crate::database::DatabaseError;
use crate::generate::names::{FAMILY, FEMALE, MALE, NOTES};
use crate::generate::rng::Rng;

/// A visit that ends now: the encounter, vital signs, a diagnosis, mostly a note, and at times a laboratory
/// report. Times are the database's.
pub(super) async fn visit(
    connection: &mut PgConnection,
    places: &Places,
    rng: &mut Rng,
) -> Result<bool, DatabaseError> {
    let Some(patient) = places.patient(connection, rng).await? else { return Ok(false) };
    let provider = places.provider(rng);
    let encounter: Uuid = sqlx::query_scalar(
        "INSERT INTO encounter (patient_id, practice_id, facility_id, provider_id, visit_number, status, class_code,
             visit_cpt, visit_snomed, visit_text, starts_at, ends_at, reason_text)
         VALUES ($1, $2, $3, $4, $5, 'finished', 'AMB', '99213', '390906007', 'Follow-up encounter',
             date_trunc('second', now()) - interval '20 minutes', date_trunc('second', now()), 'follow-up')
         RETURNING id",
    )
    .bind(patient)
    .bind(places.practice)
    .bind(*rng.pick(&places.facilities))
    .bind(provider)
    .bind(format!("W{}", rng.digits(9)))
    .fetch_one(&mut *connection)
    .await?;
    let visit = Visit { patient, encounter, provider };
    visit.vital_signs(connection, rng).await?;
    if rng.chance(60) {
        visit.diagnosis(connection).await?;
    }
    if rng.chance(70) {
        visit.note(connection, places, rng).await?;
    }
    if rng.chance(30) {
        visit.laboratory(connection, places, rng).await?;
    }
    Ok(true)
}

/// Whose records a visit adds to.
struct Visit {
    patient: Uuid,
    encounter: Uuid,
    provider: Uuid,
}

impl Visit {
    async fn vital_signs(&self, connection: &mut PgConnection, rng: &mut Rng) -> Result<(), DatabaseError> {
        let systolic = rng.between(104, 162);
        sqlx::query(
            "INSERT INTO vital_set (patient_id, encounter_id, taken_by_id, taken_at, systolic, diastolic, heart_rate,
                 resp_rate, temp_c, spo2)
             VALUES ($1, $2, $3, date_trunc('second', now()) - interval '15 minutes', $4, $5, $6, $7, $8::numeric / 10, $9)",
        )
        .bind(self.patient)
        .bind(self.encounter)
        .bind(self.provider)
        .bind(systolic)
        .bind(systolic * 6 / 10)
        .bind(rng.between(56, 98))
        .bind(rng.between(12, 20))
        .bind(rng.between(362, 382))
        .bind(rng.between(93, 100))
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn diagnosis(&self, connection: &mut PgConnection) -> Result<(), DatabaseError> {
        sqlx::query(
            "INSERT INTO problem (patient_id, encounter_id, recorder_id, kind, snomed, icd10, text, clinical_status,
                 verification, onset, recorded_at)
             VALUES ($1, $2, $3, 'encounter-diagnosis', '54150009', 'J06.9', 'Upper respiratory infection', 'active',
                 'confirmed', current_date - 3, date_trunc('second', now()))",
        )
        .bind(self.patient)
        .bind(self.encounter)
        .bind(self.provider)
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn note(
        &self,
        connection: &mut PgConnection,
        places: &Places,
        rng: &mut Rng,
    ) -> Result<(), DatabaseError> {
        let text = format!("SUBJECTIVE:\n{}\n\nPLAN:\n{}", rng.word(&NOTES), rng.word(&NOTES));
        sqlx::query(
            "INSERT INTO document (patient_id, encounter_id, practice_id, author_id, loinc, title, doc_status, written_at,
                 service_from, service_to, mime, size_bytes, body)
             VALUES ($1, $2, $3, $4, '11506-3', 'Progress note', 'final', date_trunc('second', now()),
                 date_trunc('second', now()) - interval '20 minutes', date_trunc('second', now()),
                 'text/plain; charset=utf-8', length($5::bytea), $5)",
        )
        .bind(self.patient)
        .bind(self.encounter)
        .bind(places.practice)
        .bind(self.provider)
        .bind(text.into_bytes())
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn laboratory(
        &self,
        connection: &mut PgConnection,
        places: &Places,
        rng: &mut Rng,
    ) -> Result<(), DatabaseError> {
        let report: Uuid = sqlx::query_scalar(
            "INSERT INTO lab_report (patient_id, encounter_id, ordering_id, lab_id, loinc, text, status, collected_at, issued_at)
             VALUES ($1, $2, $3, $4, '55454-3', 'Hemoglobin A1c in Blood', 'final',
                 date_trunc('second', now()) - interval '10 minutes', date_trunc('second', now()))
             RETURNING id",
        )
        .bind(self.patient)
        .bind(self.encounter)
        .bind(self.provider)
        .bind(places.laboratory)
        .fetch_one(&mut *connection)
        .await?;
        let tests = [
            ("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", "%"),
            ("2339-0", "Glucose in Blood", "mg/dL"),
        ];
        for (loinc, text, unit) in tests {
            let value = if unit == "%" { rng.between(480, 950) } else { rng.between(7000, 19_000) };
            sqlx::query(
                "INSERT INTO lab_result (lab_report_id, patient_id, encounter_id, ordering_id, lab_id, observed_at, issued_at,
                     loinc, text, status, value_num, ucum)
                 SELECT id, patient_id, encounter_id, ordering_id, lab_id, collected_at, issued_at,
                     $2, $3, 'final', round($4::numeric / 100, 2), $5
                 FROM lab_report WHERE id = $1",
            )
            .bind(report)
            .bind(loinc)
            .bind(text)
            .bind(value)
            .bind(unit)
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }
}

/// A prescription of a drug of the list, and at times its first fill.
pub(super) async fn prescription(
    connection: &mut PgConnection,
    places: &Places,
    rng: &mut Rng,
) -> Result<bool, DatabaseError> {
    let Some(patient) = places.patient(connection, rng).await? else { return Ok(false) };
    if places.drugs.is_empty() {
        return Ok(false);
    }
    let id: Uuid = sqlx::query_scalar(
        "INSERT INTO prescription (patient_id, prescriber_id, drug_id, status, intent, category, sig, dose, dose_ucum,
             freq_count, freq_period, freq_unit, quantity, quantity_ucum, refills, written_at)
         VALUES ($1, $2, $3, 'active', 'order', 'outpatient', 'Take 1 tablet by mouth once daily.', 1, '{tbl}',
             1, 1, 'd', 30, '{tbl}', 2, date_trunc('second', now()))
         RETURNING id",
    )
    .bind(patient)
    .bind(places.provider(rng))
    .bind(*rng.pick(&places.drugs))
    .fetch_one(&mut *connection)
    .await?;
    if rng.chance(40) {
        sqlx::query(
            "INSERT INTO dispense (patient_id, prescription_id, drug_id, status, type_code, quantity, quantity_ucum,
                 handed_over_at, sig, dose, dose_ucum, freq_count, freq_period, freq_unit)
             SELECT patient_id, id, drug_id, 'completed', 'FF', quantity, quantity_ucum, date_trunc('second', now()), sig, dose,
                 dose_ucum, freq_count, freq_period, freq_unit
             FROM prescription WHERE id = $1",
        )
        .bind(id)
        .execute(connection)
        .await?;
    }
    Ok(true)
}

/// A patient who comes for the first time.
pub(super) async fn registration(
    connection: &mut PgConnection,
    places: &Places,
    rng: &mut Rng,
) -> Result<bool, DatabaseError> {
    let female = rng.chance(52);
    let first = rng.word(if female { &FEMALE } else { &MALE });
    let patient: Uuid = sqlx::query_scalar(
        "INSERT INTO patient (practice_id, mrn, last_name, first_name, birth_date, admin_sex, birth_sex, language, pcp_id)
         VALUES ($1, $2, $3, $4, current_date - $5::int, $6, $7, 'en', $8)
         RETURNING id",
    )
    .bind(places.practice)
    .bind(format!("MRN3{}", rng.digits(11)))
    .bind(rng.word(&FAMILY))
    .bind(first)
    .bind(i32::try_from(rng.between(300, 33_000)).unwrap_or(300))
    .bind(if female { "female" } else { "male" })
    .bind(if female { "F" } else { "M" })
    .bind(places.provider(rng))
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO patient_telecom (patient_id, kind, use, value) VALUES ($1, 'phone', 'mobile', $2)",
    )
    .bind(patient)
    .bind(crate::practice::phone(rng))
    .execute(connection)
    .await?;
    Ok(true)
}
