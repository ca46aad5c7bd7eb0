-- The source contract of the reference EHR: one view per stream. The mapping set says how FHIR comes of their columns.
--
-- * A view is a plain select on one table, so that paging, cohorts and _since go down to the table's indexes.
-- * The text of a row's key is the id of its resource, so foreign keys are references as they stand: there are no joins.
-- * Child rows come as one jsonb column, put together as the array that the resource will carry: without nulls, blanks,
--   {} and []. The subqueries stand in the select list, so they cost nothing for rows that are filtered out.
-- * Where US Core has a rule across columns ("no clinical status with an entry in error"), the view keeps it.

-- A text as FHIR wants it in JSON that a view puts together: no blanks around it, no control characters but tab, line
-- feed and carriage return; null if nothing is left. (Of texts in columns of their own the templates take care.)
CREATE FUNCTION fhir_export.clean(t text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT nullif(btrim(translate(t, E'\x01\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f', ''),
                        E' \t\n\r'), '')
$$;

-- A Period of two dates; null if both are.
CREATE FUNCTION fhir_export.period(starts date, ends date) RETURNS jsonb LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT nullif(jsonb_strip_nulls(jsonb_build_object('start', starts, 'end', ends)), '{}')
$$;

-- A Coding; its display may be missing.
CREATE FUNCTION fhir_export.coding(system text, code text, display text) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'system', fhir_export.clean(system), 'code', fhir_export.clean(code), 'display', fhir_export.clean(display)))
$$;

-- The array of those strings that are there; null if none is.
CREATE FUNCTION fhir_export.strings(VARIADIC candidates text[]) RETURNS jsonb LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT jsonb_agg(fhir_export.clean(c) ORDER BY place)
    FROM unnest(candidates) WITH ORDINALITY AS t (c, place)
    WHERE fhir_export.clean(c) IS NOT NULL
$$;

------------------------------------------------------------------------------------------------ directory

CREATE VIEW fhir_export.organization AS
SELECT o.id         AS page_key,
       o.id::text   AS id,
       NULL::text   AS patient_id,
       o.updated_at AS last_updated,
       o.kind, o.name, o.npi, o.clia, o.naic, o.phone, o.email,
       o.line1, o.line2, o.city, o.state, o.zip, o.country, o.active
FROM ehr.organization o;

CREATE VIEW fhir_export.location AS
SELECT f.id         AS page_key,
       f.id::text   AS id,
       NULL::text   AS patient_id,
       f.updated_at AS last_updated,
       f.practice_id, f.site_number, f.name, f.type_code, f.pos_code, f.phone,
       f.line1, f.line2, f.city, f.state, f.zip, f.country, f.latitude, f.longitude, f.active
FROM ehr.facility f;

CREATE VIEW fhir_export.practitioner AS
SELECT p.id         AS page_key,
       p.id::text   AS id,
       NULL::text   AS patient_id,
       p.updated_at AS last_updated,
       p.npi, p.last_name, p.first_name, p.middle_name, p.prefix, p.suffix, p.gender, p.phone, p.email,
       p.line1, p.line2, p.city, p.state, p.zip, p.country, p.active
FROM ehr.provider p;

CREATE VIEW fhir_export.practitioner_role AS
SELECT r.id         AS page_key,
       r.id::text   AS id,
       NULL::text   AS patient_id,
       r.updated_at AS last_updated,
       r.provider_id, r.practice_id, r.facility_id, r.role_nucc, r.role_text, r.specialty_nucc, r.specialty_text,
       r.phone, r.email, r.direct_address, r.active
FROM ehr.provider_role r;

-- Only drugs that something uses; the triggers below stamp what comes in and bury what goes.
CREATE VIEW fhir_export.medication AS
SELECT d.id         AS page_key,
       d.id::text   AS id,
       NULL::text   AS patient_id,
       d.updated_at AS last_updated,
       d.rxnorm, d.ndc, d.name, d.form_snomed, d.form_text, d.active
FROM ehr.drug d
WHERE EXISTS (SELECT FROM ehr.prescription p WHERE p.drug_id = d.id)
   OR EXISTS (SELECT FROM ehr.dispense s WHERE s.drug_id = d.id);

-- The first use of a drug stamps it and takes its tombstone away, the end of the last one leaves a tombstone.
CREATE FUNCTION ehr.keep_drug_use() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    former uuid := to_jsonb(OLD) ->> 'drug_id';
    latter uuid := to_jsonb(NEW) ->> 'drug_id';
BEGIN
    IF former IS NOT DISTINCT FROM latter THEN
        RETURN NULL;
    END IF;

    IF latter IS NOT NULL
       AND NOT EXISTS (SELECT FROM ehr.prescription WHERE drug_id = latter AND id <> NEW.id)
       AND NOT EXISTS (SELECT FROM ehr.dispense WHERE drug_id = latter AND id <> NEW.id) THEN
        UPDATE ehr.drug SET updated_at = clock_timestamp() WHERE id = latter;
        DELETE FROM ehr.deleted_record WHERE resource_type = 'Medication' AND fhir_id = latter::text;
    END IF;

    IF former IS NOT NULL
       AND NOT EXISTS (SELECT FROM ehr.prescription WHERE drug_id = former)
       AND NOT EXISTS (SELECT FROM ehr.dispense WHERE drug_id = former) THEN
        INSERT INTO ehr.deleted_record (resource_type, fhir_id) VALUES ('Medication', former::text);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER keep_drug_use AFTER INSERT OR UPDATE OR DELETE ON ehr.prescription
    FOR EACH ROW EXECUTE FUNCTION ehr.keep_drug_use();
CREATE TRIGGER keep_drug_use AFTER INSERT OR UPDATE OR DELETE ON ehr.dispense
    FOR EACH ROW EXECUTE FUNCTION ehr.keep_drug_use();

------------------------------------------------------------------------------------------------ patients

-- Race and ethnicity are the inner extensions of their extension: OMB categories, finer codes, and always a text.
CREATE VIEW fhir_export.patient AS
SELECT p.id         AS page_key,
       p.id::text   AS id,
       p.id::text   AS patient_id,
       p.updated_at AS last_updated,
       p.practice_id, p.birth_date, p.admin_sex, p.birth_sex, p.sex_snomed,
       p.gender_identity_system, p.gender_identity_code, p.gender_identity_text,
       p.marital_code, p.language, p.pcp_id, p.deceased_at, p.active,
       (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                   'type', jsonb_build_object('coding', jsonb_build_array(jsonb_build_object(
                       'system', 'http://terminology.hl7.org/CodeSystem/v2-0203', 'code', fhir_export.clean(i.type_code)))),
                   'system', fhir_export.clean(i.system),
                   'value', fhir_export.clean(i.value),
                   'period', fhir_export.period(i.valid_from, i.valid_to))) ORDER BY i.place, i.id)
        FROM (SELECT 0 AS place, p.id, 'MR' AS type_code, 'https://practice.example/' || p.practice_id || '/mrn' AS system,
                     p.mrn AS value, NULL::date AS valid_from, NULL::date AS valid_to
              UNION ALL
              SELECT 1, id, type_code, system, value, valid_from, valid_to
              FROM ehr.patient_identifier
              WHERE patient_id = p.id) i
       ) AS identifiers,
       (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                   'extension', CASE WHEN fhir_export.strings(n.last_name, n.first_name, n.middle_name) IS NULL THEN
                       jsonb_build_array(jsonb_build_object(
                           'url', 'http://hl7.org/fhir/StructureDefinition/data-absent-reason', 'valueCode', 'unknown')) END,
                   'use', n.use,
                   'family', fhir_export.clean(n.last_name),
                   'given', fhir_export.strings(n.first_name, n.middle_name),
                   'suffix', fhir_export.strings(n.suffix),
                   'period', fhir_export.period(n.valid_from, n.valid_to))) ORDER BY n.place, n.id)
        FROM (SELECT 0 AS place, p.id, 'official' AS use, p.last_name, p.first_name, p.middle_name, p.suffix,
                     p.name_since AS valid_from, NULL::date AS valid_to
              UNION ALL
              SELECT 1, id, use, last_name, first_name, middle_name, suffix, valid_from, valid_to
              FROM ehr.patient_name
              WHERE patient_id = p.id) n
       ) AS names,
       (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                   'system', t.kind,
                   'value', fhir_export.clean(t.value),
                   'use', t.use,
                   'period', fhir_export.period(t.valid_from, t.valid_to))) ORDER BY t.id)
        FROM ehr.patient_telecom t
        WHERE t.patient_id = p.id
       ) AS telecoms,
       (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                   'use', a.use,
                   'line', fhir_export.strings(a.line1, a.line2),
                   'city', fhir_export.clean(a.city),
                   'state', fhir_export.clean(a.state),
                   'postalCode', fhir_export.clean(a.zip),
                   'country', fhir_export.clean(a.country),
                   'period', fhir_export.period(a.valid_from, a.valid_to))) ORDER BY a.id)
        FROM ehr.patient_address a
        WHERE a.patient_id = p.id
       ) AS addresses,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'url', CASE c.kind WHEN 'race' THEN 'ombCategory' ELSE 'detailed' END,
                   'valueCoding', fhir_export.coding(c.system, c.code, c.display)) ORDER BY c.kind, c.id), '[]')
               || jsonb_build_object('url', 'text', 'valueString',
                                     coalesce(fhir_export.clean(p.race_text),
                                              string_agg(coalesce(fhir_export.clean(c.display), c.code), ', ' ORDER BY c.kind, c.id),
                                              'Unknown'))
        FROM ehr.patient_code c
        WHERE c.patient_id = p.id AND c.kind IN ('race', 'race-detail')
        HAVING count(*) > 0 OR p.race_text IS NOT NULL
       ) AS race,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'url', CASE c.kind WHEN 'ethnicity' THEN 'ombCategory' ELSE 'detailed' END,
                   'valueCoding', fhir_export.coding(c.system, c.code, c.display)) ORDER BY c.kind, c.id), '[]')
               || jsonb_build_object('url', 'text', 'valueString',
                                     coalesce(fhir_export.clean(p.ethnicity_text),
                                              string_agg(coalesce(fhir_export.clean(c.display), c.code), ', ' ORDER BY c.kind, c.id),
                                              'Unknown'))
        FROM ehr.patient_code c
        WHERE c.patient_id = p.id AND c.kind IN ('ethnicity', 'ethnicity-detail')
        HAVING count(*) > 0 OR p.ethnicity_text IS NOT NULL
       ) AS ethnicity,
       (SELECT fhir_export.coding(c.system, c.code, c.display)
        FROM ehr.patient_code c
        WHERE c.patient_id = p.id AND c.kind = 'tribe'
        ORDER BY c.id
        LIMIT 1
       ) AS tribe
FROM ehr.patient p
WHERE NOT p.deleted;

CREATE VIEW fhir_export.related_person AS
SELECT r.id               AS page_key,
       r.id::text         AS id,
       r.patient_id::text AS patient_id,
       r.updated_at       AS last_updated,
       r.relationship_code, r.relationship_text, r.last_name, r.first_name, r.gender, r.birth_date,
       r.phone, r.email, r.line1, r.line2, r.city, r.state, r.zip, r.country, r.active
FROM ehr.related_person r;

CREATE VIEW fhir_export.coverage AS
SELECT c.id               AS page_key,
       c.id::text         AS id,
       c.patient_id::text AS patient_id,
       c.updated_at       AS last_updated,
       c.payer_id, c.status, c.type_code, c.type_text, c.member_id, c.subscriber_id, c.relationship,
       c.group_number, c.group_name, c.plan_number, c.plan_name, c.starts, c.ends
FROM ehr.coverage c;

------------------------------------------------------------------------------------------------ visits and problems

CREATE VIEW fhir_export.encounter AS
SELECT e.id               AS page_key,
       e.id::text         AS id,
       e.patient_id::text AS patient_id,
       e.updated_at       AS last_updated,
       e.practice_id, e.facility_id, e.provider_id, e.visit_number, e.status, e.class_code,
       e.visit_cpt, e.visit_snomed, e.visit_text, e.starts_at, e.ends_at,
       e.reason_snomed, e.reason_text, e.reason_problem_id, e.discharge_code
FROM ehr.encounter e;

-- A problem entered in error has no clinical status, and without one it cannot have abated.
CREATE VIEW fhir_export.condition AS
SELECT p.id               AS page_key,
       p.id::text         AS id,
       p.patient_id::text AS patient_id,
       p.updated_at       AS last_updated,
       p.encounter_id, p.recorder_id, p.kind, p.screening_category, p.snomed, p.icd10, p.text, p.severity_snomed,
       p.verification, p.onset, p.asserted, p.recorded_at,
       CASE WHEN p.verification IS DISTINCT FROM 'entered-in-error' THEN p.clinical_status END AS clinical_status,
       CASE WHEN p.verification IS DISTINCT FROM 'entered-in-error' THEN p.abated END          AS abated
FROM ehr.problem p
WHERE NOT p.deleted;

-- An allergy has a clinical status unless it was entered in error.
CREATE VIEW fhir_export.allergy_intolerance AS
SELECT a.id               AS page_key,
       a.id::text         AS id,
       a.patient_id::text AS patient_id,
       a.updated_at       AS last_updated,
       a.encounter_id, a.recorder_id, a.type, a.category, a.criticality, a.rxnorm, a.snomed, a.text,
       a.verification, a.onset, a.recorded_at,
       CASE WHEN a.verification IS DISTINCT FROM 'entered-in-error'
            THEN coalesce(a.clinical_status, 'active') END AS clinical_status,
       (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                   'manifestation', jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
                       'coding', CASE WHEN fhir_export.clean(r.snomed) IS NOT NULL THEN
                           jsonb_build_array(fhir_export.coding('http://snomed.info/sct', r.snomed, NULL)) END,
                       'text', fhir_export.clean(r.text)))),
                   'severity', r.severity)) ORDER BY r.id)
        FROM ehr.allergy_reaction r
        WHERE r.allergy_id = a.id
       ) AS reactions
FROM ehr.allergy a
WHERE NOT a.deleted;

-- A team without named members is the practice's.
CREATE VIEW fhir_export.care_team AS
SELECT c.id               AS page_key,
       c.id::text         AS id,
       c.patient_id::text AS patient_id,
       c.updated_at       AS last_updated,
       c.practice_id, c.name, c.status, c.starts, c.ends,
       coalesce(
           (SELECT jsonb_agg(jsonb_build_object(
                       'role', jsonb_build_array(jsonb_build_object(
                           'coding', jsonb_build_array(fhir_export.coding('http://snomed.info/sct', m.role_snomed, NULL)),
                           'text', coalesce(fhir_export.clean(m.role_text), 'Member'))),
                       'member', jsonb_build_object('reference', coalesce(
                           'Practitioner/' || m.provider_id, 'PractitionerRole/' || m.provider_role_id,
                           'Organization/' || m.organization_id, 'RelatedPerson/' || m.related_person_id,
                           'Patient/' || c.patient_id))) ORDER BY m.id)
            FROM ehr.care_team_member m
            WHERE m.care_team_id = c.id),
           jsonb_build_array(jsonb_build_object(
               'role', jsonb_build_array(jsonb_build_object('text', 'Practice')),
               'member', jsonb_build_object('reference', 'Organization/' || c.practice_id)))
       ) AS members
FROM ehr.care_team c;

CREATE VIEW fhir_export.care_plan AS
SELECT c.id               AS page_key,
       c.id::text         AS id,
       c.patient_id::text AS patient_id,
       c.updated_at       AS last_updated,
       c.encounter_id, c.care_team_id, c.author_id, c.problem_id, c.status, c.intent, c.title, c.narrative,
       c.starts, c.ends,
       (SELECT jsonb_agg(jsonb_build_object('reference', 'Goal/' || g.id) ORDER BY g.id)
        FROM ehr.goal g
        WHERE g.care_plan_id = c.id
       ) AS goals
FROM ehr.care_plan c;

CREATE VIEW fhir_export.goal AS
SELECT g.id               AS page_key,
       g.id::text         AS id,
       g.patient_id::text AS patient_id,
       g.updated_at       AS last_updated,
       g.problem_id, g.author_id, g.status, g.achievement, g.snomed, g.text, g.starts, g.due,
       g.target_loinc, g.target_num, coalesce(g.target_ucum, '1') AS target_ucum
FROM ehr.goal g;

------------------------------------------------------------------------------------------------ orders and what came of them

CREATE VIEW fhir_export.service_request AS
SELECT o.id               AS page_key,
       o.id::text         AS id,
       o.patient_id::text AS patient_id,
       o.updated_at       AS last_updated,
       o.encounter_id, o.requester_id, o.status, o.intent, o.category_snomed, o.category_text,
       o.loinc, o.cpt, o.snomed, o.text, o.ordered_at, o.occurs_at,
       o.reason_snomed, o.reason_icd10, o.reason_text, o.reason_problem_id
FROM ehr.service_order o;

CREATE VIEW fhir_export.specimen AS
SELECT s.id               AS page_key,
       s.id::text         AS id,
       s.patient_id::text AS patient_id,
       s.updated_at       AS last_updated,
       s.order_id, s.collector_id, s.specimen_number, s.accession_number, s.status, s.snomed, s.text,
       s.collected_at, s.site_snomed, s.site_text, s.condition_code
FROM ehr.specimen s;

CREATE VIEW fhir_export.diagnostic_report_lab AS
SELECT r.id               AS page_key,
       r.id::text         AS id,
       r.patient_id::text AS patient_id,
       r.updated_at       AS last_updated,
       r.encounter_id, r.order_id, r.ordering_id, r.lab_id, r.specimen_id, r.loinc, r.text, r.status,
       r.collected_at, r.issued_at, r.conclusion,
       (SELECT jsonb_agg(jsonb_build_object('reference', 'Observation/' || o.id) ORDER BY o.id)
        FROM ehr.lab_result o
        WHERE o.lab_report_id = r.id
       ) AS results
FROM ehr.lab_report r;

-- A result is a number, a code, or a text; or there is none, for a reason. A range is one of numbers, in their unit.
CREATE VIEW fhir_export.observation_lab AS
SELECT r.id               AS page_key,
       r.id::text         AS id,
       r.patient_id::text AS patient_id,
       r.updated_at       AS last_updated,
       r.encounter_id, r.ordering_id, r.lab_id, r.specimen_id, r.observed_at, r.issued_at, r.loinc, r.text, r.status,
       r.value_num, r.comparator, coalesce(r.ucum, '1') AS ucum,
       r.ref_text, r.abnormal_flag,
       CASE WHEN r.value_num IS NOT NULL THEN r.ref_low END                           AS ref_low,
       CASE WHEN r.value_num IS NOT NULL THEN r.ref_high END                          AS ref_high,
       CASE WHEN r.value_num IS NULL THEN r.value_code END                            AS value_code,
       CASE WHEN r.value_num IS NULL THEN r.value_system END                          AS value_system,
       CASE WHEN r.value_num IS NULL AND r.value_code IS NOT NULL THEN r.value_text END AS value_display,
       CASE WHEN num_nonnulls(r.value_num, r.value_code) = 0 THEN r.value_text END    AS value_text,
       CASE WHEN num_nonnulls(r.value_num, r.value_code, r.value_text) = 0
            THEN coalesce(r.absent_reason, 'unknown') END                             AS absent_reason
FROM ehr.lab_result r;

CREATE VIEW fhir_export.observation_vitals AS
SELECT v.id               AS page_key,
       v.id::text         AS id,
       v.patient_id::text AS patient_id,
       v.updated_at       AS last_updated,
       v.encounter_id, v.taken_by_id, v.taken_at, v.entered_in_error,
       v.systolic, v.diastolic, v.heart_rate, v.resp_rate, v.temp_c, v.spo2, v.o2_flow, v.o2_concentration,
       v.height_cm, v.weight_kg, v.bmi, v.head_cm, v.bmi_pct, v.head_pct, v.wfl_pct
FROM ehr.vital_set v;

-- Findings, each with the US Core profile that its code or category calls for.
--
-- A value is a number, a code, a yes or no, or a text; or there is none, for a reason, unless the finding is a panel.
-- Profiles of the social history want a concept: there a bare text is the text of one.
-- A vital sign is at a time, never for a period.
CREATE VIEW fhir_export.observation_finding AS
SELECT f.id               AS page_key,
       f.id::text         AS id,
       f.patient_id::text AS patient_id,
       f.updated_at       AS last_updated,
       f.profile, f.encounter_id, f.performer_id, f.derived_from_id, f.questionnaire_response_id,
       f.category, f.screening_category, f.loinc, f.snomed, f.text, f.status, f.interpretation, f.members,
       f.value_num, f.comparator, coalesce(f.ucum, '1') AS ucum,
       f.industry_system, f.industry_code, f.industry_text,
       CASE WHEN f.has_period THEN f.observed_at END     AS starts_at,
       CASE WHEN f.has_period THEN f.observed_until END  AS ends_at,
       CASE WHEN NOT f.has_period THEN f.observed_at END AS observed_at,
       CASE WHEN f.value_num IS NULL THEN f.value_code END                                AS value_code,
       CASE WHEN f.value_num IS NULL THEN f.value_system END                              AS value_system,
       CASE WHEN num_nonnulls(f.value_num, f.value_code) = 0 THEN f.value_bool END        AS value_bool,
       CASE WHEN f.value_num IS NULL AND f.is_concept THEN f.value_text END               AS value_display,
       CASE WHEN num_nonnulls(f.value_num, f.value_bool) = 0 AND NOT f.is_concept
            THEN f.value_text END                                                         AS value_text,
       CASE WHEN num_nonnulls(f.value_num, f.value_code, f.value_text, f.value_bool) = 0 AND f.members IS NULL
            THEN coalesce(f.absent_reason, 'unknown') END                                 AS absent_reason
FROM (SELECT k.*,
             k.value_code IS NOT NULL
                 OR k.category = 'social-history' AND k.profile <> 'us-core-simple-observation' AS is_concept
      FROM (SELECT f.*,
                   (f.is_period OR f.observed_until IS NOT NULL) AND f.category <> 'vital-signs' AS has_period,
                   CASE
                       WHEN f.loinc IN ('72166-2', '11367-0') OR f.snomed IN ('401201003', '782516008')
                           THEN 'us-core-smokingstatus'
                       WHEN f.loinc = '11341-5' THEN 'us-core-observation-occupation'
                       WHEN f.loinc = '82810-3' THEN 'us-core-observation-pregnancystatus'
                       WHEN f.loinc = '86645-9' THEN 'us-core-observation-pregnancyintent'
                       WHEN f.loinc = '76690-7' THEN 'us-core-observation-sexual-orientation'
                       WHEN f.category = 'vital-signs' THEN
                           CASE f.loinc
                               WHEN '85354-9' THEN 'us-core-blood-pressure'
                               WHEN '8867-4'  THEN 'us-core-heart-rate'
                               WHEN '9279-1'  THEN 'us-core-respiratory-rate'
                               WHEN '8310-5'  THEN 'us-core-body-temperature'
                               WHEN '59408-5' THEN 'us-core-pulse-oximetry'
                               WHEN '8302-2'  THEN 'us-core-body-height'
                               WHEN '29463-7' THEN 'us-core-body-weight'
                               WHEN '39156-5' THEN 'us-core-bmi'
                               WHEN '9843-4'  THEN 'us-core-head-circumference'
                               WHEN '59576-9' THEN 'pediatric-bmi-for-age'
                               WHEN '8289-1'  THEN 'head-occipital-frontal-circumference-percentile'
                               WHEN '77606-2' THEN 'pediatric-weight-for-height'
                               ELSE 'us-core-vital-signs'
                           END
                       WHEN f.category = 'survey' THEN 'us-core-observation-screening-assessment'
                       WHEN f.category = 'laboratory' THEN 'us-core-observation-lab'
                       WHEN f.category IN ('exam', 'therapy', 'imaging', 'procedure', 'activity')
                           THEN 'us-core-observation-clinical-result'
                       ELSE 'us-core-simple-observation'
                   END AS profile,
                   (SELECT jsonb_agg(jsonb_build_object('reference', 'Observation/' || m.id) ORDER BY m.id)
                    FROM ehr.finding m
                    WHERE m.parent_id = f.id) AS members
            FROM ehr.finding f
            WHERE (f.loinc IN ('95541-9', '75773-2', '96607-7')) IS NOT TRUE) k) f;

-- The findings that have profiles of their own from US Core 7.0 on: preferences and average blood pressures.
CREATE VIEW fhir_export.observation_us_core_7 AS
SELECT f.id               AS page_key,
       f.id::text         AS id,
       f.patient_id::text AS patient_id,
       f.updated_at       AS last_updated,
       f.encounter_id, f.performer_id, f.loinc, f.text, f.status, f.mean_systolic, f.mean_diastolic,
       f.value_system, f.value_code,
       CASE WHEN f.value_code IS NOT NULL THEN f.value_text END AS value_display,
       CASE WHEN f.value_code IS NULL THEN f.value_text END     AS value_text,
       CASE WHEN f.is_period THEN f.observed_at END             AS starts_at,
       CASE WHEN f.is_period THEN f.observed_until END          AS ends_at,
       CASE WHEN NOT f.is_period THEN f.observed_at END         AS observed_at
FROM ehr.finding f
WHERE f.loinc IN ('95541-9', '75773-2', '96607-7');

CREATE INDEX finding_us_core_7 ON ehr.finding (id) WHERE loinc IN ('95541-9', '75773-2', '96607-7');

-- The same for practices on US Core 6.1, which has other profiles for them; a stream has one id per row, so it takes two.
CREATE VIEW fhir_export.observation_us_core_6 AS
SELECT * FROM fhir_export.observation_us_core_7;

-- An item of a questionnaire response: the question, its answer, and the items below it, each if there is one.
CREATE FUNCTION fhir_export.item(question jsonb, answer jsonb, items jsonb) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT question || CASE
        WHEN answer IS NOT NULL AND items IS NOT NULL THEN
            jsonb_build_object('answer', jsonb_build_array(answer || jsonb_build_object('item', items)))
        WHEN answer IS NOT NULL THEN jsonb_build_object('answer', jsonb_build_array(answer))
        WHEN items IS NOT NULL THEN jsonb_build_object('item', items)
        ELSE '{}'
    END
$$;

-- Items are put together from below: questions with what follows from their answers, then groups of questions.
-- What follows from an answer stands in the answer, else an item's items stand in the item itself.
CREATE VIEW fhir_export.questionnaire_response AS
SELECT q.id               AS page_key,
       q.id::text         AS id,
       q.patient_id::text AS patient_id,
       q.updated_at       AS last_updated,
       q.encounter_id, q.questionnaire, q.title, q.status, q.authored_at,
       coalesce('Practitioner/' || q.author_id, 'Patient/' || q.patient_id) AS author,
       (WITH item AS (
            SELECT i.id, i.parent_id,
                   jsonb_strip_nulls(jsonb_build_object(
                       'linkId', fhir_export.clean(i.link_id), 'text', fhir_export.clean(i.text))) AS question,
                   CASE
                       WHEN fhir_export.clean(i.value_code) IS NOT NULL THEN jsonb_build_object(
                           'valueCoding', fhir_export.coding(i.value_system, i.value_code, i.value_text))
                       WHEN i.value_num IS NOT NULL THEN jsonb_build_object('valueDecimal', i.value_num)
                       WHEN i.value_bool IS NOT NULL THEN jsonb_build_object('valueBoolean', i.value_bool)
                       WHEN fhir_export.clean(i.value_text) IS NOT NULL THEN
                           jsonb_build_object('valueString', fhir_export.clean(i.value_text))
                   END AS answer
            FROM ehr.questionnaire_item i
            WHERE i.questionnaire_response_id = q.id),
        follow_up AS (
            SELECT i.parent_id, jsonb_agg(fhir_export.item(i.question, i.answer, NULL) ORDER BY i.id) AS items
            FROM item i
            WHERE i.parent_id IS NOT NULL
            GROUP BY i.parent_id),
        question AS (
            SELECT i.parent_id, jsonb_agg(fhir_export.item(i.question, i.answer, f.items) ORDER BY i.id) AS items
            FROM item i
            LEFT JOIN follow_up f ON f.parent_id = i.id
            WHERE i.parent_id IS NOT NULL
            GROUP BY i.parent_id)
        SELECT jsonb_agg(fhir_export.item(i.question, i.answer, q.items) ORDER BY i.id)
        FROM item i
        LEFT JOIN question q ON q.parent_id = i.id
        WHERE i.parent_id IS NULL
       ) AS items
FROM ehr.questionnaire_response q;

-- Small bodies go with the resource; of others, the address.
CREATE VIEW fhir_export.document_reference AS
SELECT d.id               AS page_key,
       d.id::text         AS id,
       d.patient_id::text AS patient_id,
       d.updated_at       AS last_updated,
       d.encounter_id, d.practice_id, d.author_id, d.loinc, d.title, d.status, d.doc_status, d.written_at,
       d.service_from, d.service_to, d.mime, d.format_code, d.size_bytes, d.sha1, d.storage_url, d.replaces_id,
       CASE WHEN d.storage_url IS NULL OR octet_length(d.body) <= 1048576 THEN d.body END AS body
FROM ehr.document d
WHERE NOT d.deleted;

-- A document that is a report is a DiagnosticReport too, of the same content.
CREATE VIEW fhir_export.diagnostic_report_note AS
SELECT d.id               AS page_key,
       d.id::text         AS id,
       d.patient_id::text AS patient_id,
       d.updated_at       AS last_updated,
       d.encounter_id, d.practice_id, d.author_id, d.loinc, d.title, d.report_category, d.report_status, d.written_at,
       coalesce(d.service_from, d.written_at) AS effective_at,
       d.issued_at, d.order_id, d.media_url, d.mime, d.size_bytes, d.sha1, d.storage_url,
       CASE WHEN d.storage_url IS NULL OR octet_length(d.body) <= 1048576 THEN d.body END AS body,
       (SELECT jsonb_agg(jsonb_build_object('reference', 'Observation/' || f.id) ORDER BY f.id)
        FROM ehr.finding f
        WHERE f.document_id = d.id
       ) AS results
FROM ehr.document d
WHERE d.is_report AND NOT d.deleted;

------------------------------------------------------------------------------------------------ treatment

CREATE VIEW fhir_export.immunization AS
SELECT i.id               AS page_key,
       i.id::text         AS id,
       i.patient_id::text AS patient_id,
       i.updated_at       AS last_updated,
       i.encounter_id, i.facility_id, i.performer_id, i.cvx, i.ndc, i.text, i.status, i.status_reason, i.given_at,
       i.primary_source, i.lot, i.expires, i.site_code, i.route_code, i.dose, i.dose_ucum
FROM ehr.immunization i;

-- Who reported a drug that was not ordered here: a provider by reference, else just that it is reported.
CREATE VIEW fhir_export.medication_request AS
SELECT p.id               AS page_key,
       p.id::text         AS id,
       p.patient_id::text AS patient_id,
       p.updated_at       AS last_updated,
       p.encounter_id, p.prescriber_id, p.drug_id, p.rxnorm, p.drug_text, p.status, p.intent, p.category,
       CASE WHEN p.reported_by_id IS NULL THEN p.reported END AS reported,
       p.reported_by_id, p.sig, p.dose, p.dose_ucum, p.route_snomed, p.freq_count, p.freq_period, p.freq_unit,
       p.as_needed, p.quantity, p.quantity_ucum, p.refills, p.days_supply, p.written_at, p.stopped_at,
       p.reason_snomed, p.reason_icd10, p.reason_text, p.reason_problem_id,
       p.adherence_snomed, p.adherence_asserted_at, p.adherence_source
FROM ehr.prescription p;

CREATE VIEW fhir_export.medication_dispense AS
SELECT d.id               AS page_key,
       d.id::text         AS id,
       d.patient_id::text AS patient_id,
       d.updated_at       AS last_updated,
       d.encounter_id, d.prescription_id, d.pharmacy_id, d.dispenser_id, d.drug_id, d.rxnorm, d.drug_text, d.status,
       d.type_code, d.quantity, d.quantity_ucum, d.days_supply, d.handed_over_at, d.sig, d.dose, d.dose_ucum,
       d.freq_count, d.freq_period, d.freq_unit
FROM ehr.dispense d;

-- HCPCS codes begin with a letter, CPT codes with a digit. Without an end a procedure is at a time, with one it is a period.
CREATE VIEW fhir_export.procedure AS
SELECT p.id               AS page_key,
       p.id::text         AS id,
       p.patient_id::text AS patient_id,
       p.updated_at       AS last_updated,
       p.encounter_id, p.performer_id, p.facility_id, p.order_id, p.care_plan_id, p.snomed, p.text, p.status,
       CASE WHEN p.cpt !~ '^[A-Z]' THEN p.cpt END          AS cpt,
       CASE WHEN p.cpt ~ '^[A-Z]' THEN p.cpt END           AS hcpcs,
       CASE WHEN p.ends_at IS NULL THEN p.starts_at END     AS performed_at,
       CASE WHEN p.ends_at IS NOT NULL THEN p.starts_at END AS starts_at,
       p.ends_at, p.site_snomed, p.reason_snomed, p.reason_text, p.reason_problem_id
FROM ehr.procedure_done p;

CREATE VIEW fhir_export.device AS
SELECT i.id               AS page_key,
       i.id::text         AS id,
       i.patient_id::text AS patient_id,
       i.updated_at       AS last_updated,
       i.snomed, i.text, i.status, i.udi_hrf, i.udi_di, i.distinct_id, i.lot, i.serial, i.manufactured, i.expires
FROM ehr.implant i;

------------------------------------------------------------------------------------------------ provenance

CREATE VIEW fhir_export.provenance AS
SELECT a.id               AS page_key,
       a.id::text         AS id,
       a.patient_id::text AS patient_id,
       a.updated_at       AS last_updated,
       a.recorded_at, a.practice_id,
       coalesce('Practitioner/' || a.provider_id, 'Organization/' || a.practice_id) AS author,
       (SELECT jsonb_agg(jsonb_build_object('reference', t.reference) ORDER BY t.place)
        FROM unnest(a.targets) WITH ORDINALITY AS t (reference, place)
       ) AS targets
FROM ehr.record_author a;
