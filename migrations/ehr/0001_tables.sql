-- The reference EHR: a normalised ambulatory EHR of one practice, with all that US Core 6.1.0 asks for.
--
-- It shows how plain tables satisfy the source contract. What its rows look like as FHIR is no concern of
-- this file: the views (0003) name the columns, the mapping set gives them their place in a resource.
--
-- Conventions:
-- * The key of a row is a time-ordered uuid, and its text is the id of the FHIR resource. So a foreign key
--   already is the reference, no view needs a join for one, and reading in key order is reading in insertion order.
-- * Rows carry patient_id, encounter_id and the like even where another table implies them: same reason.
-- * A main table has created_at and updated_at; updated_at is the stamp of the contract (0002 keeps it). A child
--   table (names, reactions, members, answers) has none: writing a child stamps its parent.
-- * `deleted` is a soft delete: the record leaves the exports, and comes back when it is reset.
--   An error found later is not a delete but a status ('entered-in-error').
-- * A concept has one column per code system (snomed, icd10, rxnorm, ...), filled as far as known, and a text.

CREATE SCHEMA ehr;

-- UUID version 7 (RFC 9562, method 3): 48 bits of milliseconds, 12 bits of their fraction, 62 random bits.
CREATE FUNCTION ehr.uuid_v7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT (encode(int8send(((us / 1000) << 16) | (7 << 12) | ((us % 1000) * 4096 / 1000)), 'hex')
            || substr(encode(uuid_send(gen_random_uuid()), 'hex'), 17))::uuid
    FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS us) AS clock
$$;

------------------------------------------------------------------------------------------------ directory

-- The practice itself and the organizations it deals with.
CREATE TABLE ehr.organization (
    id          uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind        text NOT NULL CHECK (kind IN ('practice', 'laboratory', 'payer', 'pharmacy')),
    name        text NOT NULL,
    npi         text,                                   -- 10 digits, the last one a Luhn check digit
    clia        text,                                   -- of laboratories: 05D1234567
    naic        text,                                   -- of payers: 12345
    phone       text,
    email       text,
    line1       text,
    line2       text,
    city        text,
    state       text,                                   -- USPS, two letters
    zip         text,
    country     text NOT NULL DEFAULT 'US',
    active      boolean NOT NULL DEFAULT true
);

-- A site where patients are seen.
CREATE TABLE ehr.facility (
    id          uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    practice_id uuid NOT NULL REFERENCES ehr.organization,
    site_number text,                                   -- the practice's own number of the site
    name        text NOT NULL,
    type_code   text,                                   -- v3-RoleCode: HOSP, PC (primary care), ...
    pos_code    text,                                   -- CMS place of service: 11 office, 22 outpatient hospital, ...
    phone       text,
    line1       text,
    line2       text,
    city        text,
    state       text,
    zip         text,
    country     text NOT NULL DEFAULT 'US',
    latitude    numeric(9, 6),
    longitude   numeric(9, 6),
    active      boolean NOT NULL DEFAULT true
);

CREATE TABLE ehr.provider (
    id          uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    npi         text NOT NULL,
    last_name   text NOT NULL,
    first_name  text,
    middle_name text,
    prefix      text,                                   -- Dr.
    suffix      text,                                   -- MD, NP, ...
    gender      text CHECK (gender IN ('male', 'female', 'other', 'unknown')),
    phone       text,
    email       text,
    line1       text,
    line2       text,
    city        text,
    state       text,
    zip         text,
    country     text NOT NULL DEFAULT 'US',
    active      boolean NOT NULL DEFAULT true
);

-- What a provider does at which site.
CREATE TABLE ehr.provider_role (
    id             uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    provider_id    uuid NOT NULL REFERENCES ehr.provider,
    practice_id    uuid NOT NULL REFERENCES ehr.organization,
    facility_id    uuid REFERENCES ehr.facility,
    role_nucc      text,                                -- NUCC taxonomy
    role_text      text,
    specialty_nucc text,                                -- NUCC taxonomy
    specialty_text text,
    phone          text,
    email          text,
    direct_address text,                                -- for Direct secure messages
    active         boolean NOT NULL DEFAULT true
);

-- The practice's own list of drugs: those it has prescribed or seen, not a whole formulary.
CREATE TABLE ehr.drug (
    id          uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    rxnorm      text,
    ndc         text,
    name        text NOT NULL,
    form_snomed text,
    form_text   text,
    active      boolean NOT NULL DEFAULT true
);

------------------------------------------------------------------------------------------------ patients

CREATE TABLE ehr.patient (
    id                     uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    practice_id            uuid NOT NULL REFERENCES ehr.organization,
    mrn                    text NOT NULL UNIQUE,        -- medical record number
    last_name              text,
    first_name             text,
    middle_name            text,
    suffix                 text,                        -- Jr., III
    name_since             date,                        -- since when the name is used; older ones are in patient_name
    birth_date             date,
    admin_sex              text NOT NULL CHECK (admin_sex IN ('male', 'female', 'other', 'unknown')),
    birth_sex              text CHECK (birth_sex IN ('F', 'M', 'OTH', 'UNK')),
    sex_snomed             text,                        -- 248152002 female, 248153007 male
    gender_identity_system text,
    gender_identity_code   text,                        -- SNOMED CT or a null flavor ('asked-declined')
    gender_identity_text   text,
    race_text              text,                        -- as the patient says it; the codes are in patient_code
    ethnicity_text         text,
    marital_code           text,                        -- v3-MaritalStatus
    language               text,                        -- BCP 47
    pcp_id                 uuid REFERENCES ehr.provider,
    deceased_at            timestamptz,
    active                 boolean NOT NULL DEFAULT true,
    merged_into_id         uuid REFERENCES ehr.patient, -- of a duplicate, see ehr.merge_patient
    deleted                boolean NOT NULL DEFAULT false,
    CHECK (deleted = (merged_into_id IS NOT NULL))      -- no other patient goes without his records
);

-- Names other than the present one.
CREATE TABLE ehr.patient_name (
    id          uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    patient_id  uuid NOT NULL REFERENCES ehr.patient ON DELETE CASCADE,
    use         text NOT NULL CHECK (use IN ('old', 'maiden', 'nickname', 'usual')),
    last_name   text,
    first_name  text,
    middle_name text,
    suffix      text,
    valid_from  date,
    valid_to    date
);

-- Identifiers other than the MRN: licence, SSN, member numbers.
CREATE TABLE ehr.patient_identifier (
    id          uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    patient_id  uuid NOT NULL REFERENCES ehr.patient ON DELETE CASCADE,
    type_code   text NOT NULL,                          -- v2-0203: SS, DL, PPN, ...
    system      text NOT NULL,
    value       text NOT NULL,
    valid_from  date,
    valid_to    date
);

CREATE TABLE ehr.patient_telecom (
    id          uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    patient_id  uuid NOT NULL REFERENCES ehr.patient ON DELETE CASCADE,
    kind        text NOT NULL CHECK (kind IN ('phone', 'email')),
    use         text CHECK (use IN ('home', 'work', 'mobile', 'old', 'temp')),
    value       text NOT NULL,
    valid_from  date,
    valid_to    date
);

CREATE TABLE ehr.patient_address (
    id          uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    patient_id  uuid NOT NULL REFERENCES ehr.patient ON DELETE CASCADE,
    use         text CHECK (use IN ('home', 'work', 'old', 'temp', 'billing')),
    line1       text,
    line2       text,
    city        text,
    state       text,
    zip         text,
    country     text NOT NULL DEFAULT 'US',
    valid_from  date,
    valid_to    date
);

-- Race and ethnicity (OMB categories and the finer CDC codes below them) and tribal affiliation.
CREATE TABLE ehr.patient_code (
    id          uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    patient_id  uuid NOT NULL REFERENCES ehr.patient ON DELETE CASCADE,
    kind        text NOT NULL CHECK (kind IN ('race', 'race-detail', 'ethnicity', 'ethnicity-detail', 'tribe')),
    system      text NOT NULL,
    code        text NOT NULL,
    display     text NOT NULL,
    UNIQUE (patient_id, kind, code)
);

-- Family, carers, emergency contacts.
CREATE TABLE ehr.related_person (
    id                uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id        uuid NOT NULL REFERENCES ehr.patient,
    relationship_code text,                             -- v3-RoleCode: MTH, SPS, ...
    relationship_text text,
    last_name         text,
    first_name        text,
    gender            text CHECK (gender IN ('male', 'female', 'other', 'unknown')),
    birth_date        date,
    phone             text,
    email             text,
    line1             text,
    line2             text,
    city              text,
    state             text,
    zip               text,
    country           text NOT NULL DEFAULT 'US',
    active            boolean NOT NULL DEFAULT true
);

CREATE TABLE ehr.coverage (
    id            uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id    uuid NOT NULL REFERENCES ehr.patient,
    payer_id      uuid NOT NULL REFERENCES ehr.organization,
    status        text NOT NULL CHECK (status IN ('active', 'cancelled', 'draft', 'entered-in-error')),
    type_code     text,                                 -- NAHDO source of payment typology: 1 Medicare, 512 PPO, ...
    type_text     text,
    member_id     text,                                 -- as on the card
    subscriber_id text,
    relationship  text NOT NULL,                        -- to the subscriber: self, spouse, child, ...
    group_number  text,
    group_name    text,
    plan_number   text,
    plan_name     text,
    starts        date,
    ends          date
);

------------------------------------------------------------------------------------------------ visits and problems

CREATE TABLE ehr.encounter (
    id                uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id        uuid NOT NULL REFERENCES ehr.patient,
    practice_id       uuid NOT NULL REFERENCES ehr.organization,
    facility_id       uuid REFERENCES ehr.facility,
    provider_id       uuid REFERENCES ehr.provider,
    visit_number      text NOT NULL,
    status            text NOT NULL,                    -- planned, arrived, in-progress, finished, cancelled, ...
    class_code        text NOT NULL,                    -- v3-ActCode: AMB, VR, HH, EMER
    visit_cpt         text,
    visit_snomed      text,
    visit_text        text,
    starts_at         timestamptz,
    ends_at           timestamptz,
    reason_snomed     text,
    reason_text       text,
    reason_problem_id uuid,                             -- ehr.problem, below
    discharge_code    text                              -- discharge-disposition: home, oth, ...
);

CREATE TABLE ehr.problem (
    id                 uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id         uuid NOT NULL REFERENCES ehr.patient,
    encounter_id       uuid REFERENCES ehr.encounter,
    recorder_id        uuid REFERENCES ehr.provider,
    kind               text NOT NULL CHECK (kind IN ('problem-list-item', 'encounter-diagnosis', 'health-concern')),
    screening_category text CHECK (screening_category IN
                           ('sdoh', 'functional-status', 'disability-status', 'cognitive-status')),
    snomed             text,
    icd10              text,                            -- ICD-10-CM
    text               text NOT NULL,
    severity_snomed    text,
    clinical_status    text,                            -- active, recurrence, relapse, inactive, remission, resolved
    verification       text,                            -- confirmed, provisional, ..., entered-in-error
    onset              date,
    abated             date,
    asserted           date,                            -- when it was first said to be there
    recorded_at        timestamptz,
    deleted            boolean NOT NULL DEFAULT false
);
ALTER TABLE ehr.encounter ADD FOREIGN KEY (reason_problem_id) REFERENCES ehr.problem;

CREATE TABLE ehr.allergy (
    id              uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id      uuid NOT NULL REFERENCES ehr.patient,
    encounter_id    uuid REFERENCES ehr.encounter,
    recorder_id     uuid REFERENCES ehr.provider,
    type            text CHECK (type IN ('allergy', 'intolerance')),
    category        text CHECK (category IN ('food', 'medication', 'environment', 'biologic')),
    criticality     text CHECK (criticality IN ('low', 'high', 'unable-to-assess')),
    rxnorm          text,
    snomed          text,
    text            text NOT NULL,
    clinical_status text,                               -- active, inactive, resolved
    verification    text,                               -- unconfirmed, confirmed, refuted, entered-in-error
    onset           date,
    recorded_at     timestamptz,
    deleted         boolean NOT NULL DEFAULT false
);

CREATE TABLE ehr.allergy_reaction (
    id          uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    allergy_id  uuid NOT NULL REFERENCES ehr.allergy ON DELETE CASCADE,
    snomed      text,
    text        text NOT NULL,
    severity    text CHECK (severity IN ('mild', 'moderate', 'severe'))
);

CREATE TABLE ehr.care_team (
    id          uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id  uuid NOT NULL REFERENCES ehr.patient,
    practice_id uuid NOT NULL REFERENCES ehr.organization,
    name        text,
    status      text NOT NULL,                          -- proposed, active, suspended, inactive, entered-in-error
    starts      date,
    ends        date
);

-- A member is a provider (in a role or not), an organization, a related person, or the patient.
CREATE TABLE ehr.care_team_member (
    id                uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    care_team_id      uuid NOT NULL REFERENCES ehr.care_team ON DELETE CASCADE,
    provider_id       uuid REFERENCES ehr.provider,
    provider_role_id  uuid REFERENCES ehr.provider_role,
    organization_id   uuid REFERENCES ehr.organization,
    related_person_id uuid REFERENCES ehr.related_person,
    is_patient        boolean NOT NULL DEFAULT false,
    role_snomed       text NOT NULL,
    role_text         text NOT NULL,
    CHECK (num_nonnulls(provider_id, provider_role_id, organization_id, related_person_id) + is_patient::int = 1)
);

CREATE TABLE ehr.care_plan (
    id           uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id   uuid NOT NULL REFERENCES ehr.patient,
    encounter_id uuid REFERENCES ehr.encounter,
    care_team_id uuid REFERENCES ehr.care_team,
    author_id    uuid REFERENCES ehr.provider,
    problem_id   uuid REFERENCES ehr.problem,           -- what it is about
    status       text NOT NULL,                         -- draft, active, on-hold, revoked, completed, ...
    intent       text NOT NULL DEFAULT 'plan',
    title        text,
    narrative    text NOT NULL,                         -- assessment and plan as the clinician wrote it, plain text
    starts       date,
    ends         date
);

CREATE TABLE ehr.goal (
    id           uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id   uuid NOT NULL REFERENCES ehr.patient,
    care_plan_id uuid REFERENCES ehr.care_plan,
    problem_id   uuid REFERENCES ehr.problem,
    author_id    uuid REFERENCES ehr.provider,
    status       text NOT NULL,                         -- proposed, active, completed, cancelled, ...
    achievement  text,                                  -- goal-achievement: in-progress, achieved, ...
    snomed       text,
    text         text NOT NULL,
    starts       date,
    due          date,
    target_loinc text,
    target_num   numeric,
    target_ucum  text
);

------------------------------------------------------------------------------------------------ orders and what came of them

-- An order or referral: lab test, imaging, procedure, counselling.
CREATE TABLE ehr.service_order (
    id                uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id        uuid NOT NULL REFERENCES ehr.patient,
    encounter_id      uuid REFERENCES ehr.encounter,
    requester_id      uuid REFERENCES ehr.provider,
    status            text NOT NULL,                    -- draft, active, on-hold, revoked, completed, ...
    intent            text NOT NULL DEFAULT 'order',
    category_snomed   text NOT NULL,                    -- 108252007 laboratory, 363679005 imaging, 387713003 surgery, ...
    category_text     text,
    loinc             text,
    cpt               text,
    snomed            text,
    text              text NOT NULL,
    ordered_at        timestamptz,
    occurs_at         timestamptz,                      -- when it shall be done
    reason_snomed     text,
    reason_icd10      text,
    reason_text       text,
    reason_problem_id uuid REFERENCES ehr.problem
);

CREATE TABLE ehr.specimen (
    id               uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id       uuid NOT NULL REFERENCES ehr.patient,
    order_id         uuid REFERENCES ehr.service_order,
    collector_id     uuid REFERENCES ehr.provider,
    specimen_number  text,
    accession_number text,                              -- given by the laboratory
    status           text NOT NULL DEFAULT 'available',
    snomed           text,
    text             text NOT NULL,
    collected_at     timestamptz,
    site_snomed      text,                              -- body site
    site_text        text,
    condition_code   text                               -- v2-0493: HEM, CLOT, ...
);

CREATE TABLE ehr.lab_report (
    id           uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id   uuid NOT NULL REFERENCES ehr.patient,
    encounter_id uuid REFERENCES ehr.encounter,
    order_id     uuid REFERENCES ehr.service_order,
    ordering_id  uuid REFERENCES ehr.provider,
    lab_id       uuid REFERENCES ehr.organization,      -- who performed it
    specimen_id  uuid REFERENCES ehr.specimen,
    loinc        text,
    text         text NOT NULL,
    status       text NOT NULL,                         -- registered, preliminary, final, amended, ...
    collected_at timestamptz,
    issued_at    timestamptz,
    conclusion   text
);

CREATE TABLE ehr.lab_result (
    id            uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    lab_report_id uuid NOT NULL REFERENCES ehr.lab_report ON DELETE CASCADE,
    patient_id    uuid NOT NULL REFERENCES ehr.patient, -- this and the next five as in the report
    encounter_id  uuid REFERENCES ehr.encounter,
    ordering_id   uuid REFERENCES ehr.provider,
    lab_id        uuid REFERENCES ehr.organization,
    specimen_id   uuid REFERENCES ehr.specimen,
    observed_at   timestamptz,
    issued_at     timestamptz,
    loinc         text NOT NULL,
    text          text NOT NULL,
    status        text NOT NULL,
    value_num     numeric,
    comparator    text CHECK (comparator IN ('<', '<=', '>=', '>')),
    ucum          text,
    value_system  text,                                 -- of value_code: SNOMED CT as a rule
    value_code    text,
    value_text    text,                                 -- the code's display, or a result that is text
    ref_low       numeric,
    ref_high      numeric,
    ref_text      text,
    abnormal_flag text,                                 -- v3-ObservationInterpretation: N, H, L, HH, LL, A, POS, NEG
    absent_reason text                                  -- data-absent-reason
);

-- Vital signs taken at one time, a column each; each gives an Observation of its own.
-- A sign that was asked for and not obtained is a finding with an absent_reason.
CREATE TABLE ehr.vital_set (
    id               uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id       uuid NOT NULL REFERENCES ehr.patient,
    encounter_id     uuid REFERENCES ehr.encounter,
    taken_by_id      uuid REFERENCES ehr.provider,
    taken_at         timestamptz NOT NULL,
    systolic         numeric(5, 1),                     -- mm[Hg]
    diastolic        numeric(5, 1),                     -- mm[Hg]
    heart_rate       numeric(5, 1),                     -- /min
    resp_rate        numeric(5, 1),                     -- /min
    temp_c           numeric(4, 1),                     -- Cel
    spo2             numeric(4, 1),                     -- %
    o2_flow          numeric(4, 1),                     -- L/min, inhaled while spo2 was taken
    o2_concentration numeric(4, 1),                     -- %, inhaled while spo2 was taken
    height_cm        numeric(5, 1),
    weight_kg        numeric(6, 2),
    bmi              numeric(4, 1),                     -- kg/m2
    head_cm          numeric(4, 1),                     -- head circumference
    bmi_pct          numeric(4, 1),                     -- percentile of BMI for age and sex, 2 to 20 years
    head_pct         numeric(4, 1),                     -- percentile of head circumference, up to 3 years
    wfl_pct          numeric(4, 1),                     -- percentile of weight for length, up to 3 years
    entered_in_error boolean NOT NULL DEFAULT false
);

CREATE TABLE ehr.questionnaire_response (
    id            uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id    uuid NOT NULL REFERENCES ehr.patient,
    encounter_id  uuid REFERENCES ehr.encounter,
    author_id     uuid REFERENCES ehr.provider,         -- null: the patient
    questionnaire text NOT NULL,                        -- canonical URL, such as http://loinc.org/q/44249-1
    title         text,
    status        text NOT NULL,                        -- in-progress, completed, amended, entered-in-error, stopped
    authored_at   timestamptz NOT NULL
);

-- Questions and answers; an item below another one has its parent_id.
CREATE TABLE ehr.questionnaire_item (
    id                        uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    questionnaire_response_id uuid NOT NULL REFERENCES ehr.questionnaire_response ON DELETE CASCADE,
    parent_id                 uuid REFERENCES ehr.questionnaire_item ON DELETE CASCADE,
    link_id                   text NOT NULL,
    text                      text NOT NULL,
    value_system              text,
    value_code                text,
    value_text                text,                     -- the code's display, or an answer that is text
    value_num                 numeric,
    value_bool                boolean
);

-- A report or note. The bytes are here (body) or elsewhere (storage_url).
CREATE TABLE ehr.document (
    id              uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id      uuid NOT NULL REFERENCES ehr.patient,
    encounter_id    uuid REFERENCES ehr.encounter,
    practice_id     uuid NOT NULL REFERENCES ehr.organization,
    author_id       uuid REFERENCES ehr.provider,
    loinc           text NOT NULL,
    title           text NOT NULL,
    status          text NOT NULL DEFAULT 'current' CHECK (status IN ('current', 'superseded', 'entered-in-error')),
    doc_status      text,                               -- preliminary, final, amended
    written_at      timestamptz,
    service_from    timestamptz,                        -- the time it is about
    service_to      timestamptz,
    mime            text NOT NULL,
    format_code     text,                               -- IHE format code, such as urn:ihe:iti:xds:2017:mimeTypeSufficient
    size_bytes      bigint,
    sha1            bytea,
    body            bytea,
    storage_url     text,
    replaces_id     uuid REFERENCES ehr.document,
    is_report       boolean NOT NULL DEFAULT false,     -- also a diagnostic report: imaging, cardiology, pathology
    report_category text,                               -- LOINC: LP29684-5 radiology, LP29708-2 cardiology, LP7839-6 pathology
    report_status   text,                               -- registered, preliminary, final, ...
    issued_at       timestamptz,
    order_id        uuid REFERENCES ehr.service_order,
    media_url       text,                               -- an image in the imaging archive that belongs to the report
    deleted         boolean NOT NULL DEFAULT false,
    CHECK (body IS NOT NULL OR storage_url IS NOT NULL),
    CHECK (NOT is_report OR (report_category IS NOT NULL AND report_status IS NOT NULL))
);

-- Any other observation: social history, screening, examination, measurements of a report.
CREATE TABLE ehr.finding (
    id                        uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at                timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at                timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id                uuid NOT NULL REFERENCES ehr.patient,
    encounter_id              uuid REFERENCES ehr.encounter,
    performer_id              uuid REFERENCES ehr.provider,
    parent_id                 uuid REFERENCES ehr.finding ON DELETE CASCADE,  -- the panel that it is a member of
    derived_from_id           uuid REFERENCES ehr.finding,
    questionnaire_response_id uuid REFERENCES ehr.questionnaire_response,     -- the answers it was derived from
    document_id               uuid REFERENCES ehr.document,                   -- the report that it is a result of
    category                  text NOT NULL,            -- social-history, survey, exam, vital-signs, imaging, procedure, ...
    screening_category        text CHECK (screening_category IN
                                  ('sdoh', 'functional-status', 'disability-status', 'cognitive-status')),
    loinc                     text,
    snomed                    text,
    text                      text NOT NULL,
    status                    text NOT NULL,
    observed_at               timestamptz,
    observed_until            timestamptz,              -- end of a period, if known
    is_period                 boolean NOT NULL DEFAULT false,  -- it held for a period from observed_at (an occupation)
    value_num                 numeric,
    comparator                text CHECK (comparator IN ('<', '<=', '>=', '>')),
    ucum                      text,
    value_system              text,
    value_code                text,
    value_text                text,                     -- the code's display, or a value that is text
    value_bool                boolean,
    industry_system           text,                     -- with an occupation: its industry
    industry_code             text,
    industry_text             text,
    mean_systolic             numeric(5, 1),            -- of an average blood pressure, mm[Hg]
    mean_diastolic            numeric(5, 1),
    absent_reason             text,                     -- data-absent-reason
    interpretation            text,                     -- v3-ObservationInterpretation
    CHECK (loinc IS NOT NULL OR snomed IS NOT NULL)
);

CREATE TABLE ehr.immunization (
    id             uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id     uuid NOT NULL REFERENCES ehr.patient,
    encounter_id   uuid REFERENCES ehr.encounter,
    facility_id    uuid REFERENCES ehr.facility,
    performer_id   uuid REFERENCES ehr.provider,
    cvx            text NOT NULL,
    ndc            text,
    text           text NOT NULL,
    status         text NOT NULL CHECK (status IN ('completed', 'entered-in-error', 'not-done')),
    status_reason  text,                                -- v3-ActReason, of what was not done: PATOBJ, MEDPREC, ...
    given_at       timestamptz NOT NULL,
    primary_source boolean,                             -- false: reported, not given here
    lot            text,
    expires        date,
    site_code      text,                                -- v3-ActSite: LA, RA, ...
    route_code     text,                                -- v3-RouteOfAdministration: IM, ...
    dose           numeric,
    dose_ucum      text
);

-- A drug from the practice's list (drug_id), or one that is only named and coded here.
CREATE TABLE ehr.prescription (
    id                    uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id            uuid NOT NULL REFERENCES ehr.patient,
    encounter_id          uuid REFERENCES ehr.encounter,
    prescriber_id         uuid REFERENCES ehr.provider,
    drug_id               uuid REFERENCES ehr.drug,
    rxnorm                text,
    drug_text             text,
    status                text NOT NULL,                -- active, on-hold, cancelled, completed, stopped, ...
    intent                text NOT NULL,                -- order; plan: taken, but not ordered here
    category              text,                         -- inpatient, outpatient, community, discharge
    reported              boolean NOT NULL DEFAULT false,
    reported_by_id        uuid REFERENCES ehr.provider, -- who reported it; null: the patient
    sig                   text,
    dose                  numeric,
    dose_ucum             text,
    route_snomed          text,
    freq_count            integer,                      -- freq_count times per freq_period freq_unit
    freq_period           numeric,
    freq_unit             text CHECK (freq_unit IN ('h', 'd', 'wk', 'mo')),
    as_needed             boolean,
    quantity              numeric,
    quantity_ucum         text,
    refills               integer,
    days_supply           integer,
    written_at            timestamptz,
    stopped_at            timestamptz,
    reason_snomed         text,
    reason_icd10          text,
    reason_text           text,
    reason_problem_id     uuid REFERENCES ehr.problem,
    adherence_snomed      text,                         -- US Core 7.0: how the patient takes it
    adherence_asserted_at timestamptz,
    adherence_source      text,                         -- who said so, v3-RoleCode: ONESELF, SPS, ...
    CHECK (drug_id IS NOT NULL OR drug_text IS NOT NULL)
);

CREATE TABLE ehr.dispense (
    id              uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id      uuid NOT NULL REFERENCES ehr.patient,
    encounter_id    uuid REFERENCES ehr.encounter,
    prescription_id uuid REFERENCES ehr.prescription,
    pharmacy_id     uuid REFERENCES ehr.organization,
    dispenser_id    uuid REFERENCES ehr.provider,       -- of what is handed out in the practice itself
    drug_id         uuid REFERENCES ehr.drug,
    rxnorm          text,
    drug_text       text,
    status          text NOT NULL,                      -- in-progress, completed, cancelled, ...
    type_code       text,                               -- v3-ActCode: FF first fill, RF refill, ...
    quantity        numeric,
    quantity_ucum   text,
    days_supply     integer,
    handed_over_at  timestamptz,
    sig             text,
    dose            numeric,
    dose_ucum       text,
    freq_count      integer,
    freq_period     numeric,
    freq_unit       text CHECK (freq_unit IN ('h', 'd', 'wk', 'mo')),
    CHECK (drug_id IS NOT NULL OR drug_text IS NOT NULL)
);

CREATE TABLE ehr.procedure_done (
    id                uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id        uuid NOT NULL REFERENCES ehr.patient,
    encounter_id      uuid REFERENCES ehr.encounter,
    performer_id      uuid REFERENCES ehr.provider,
    facility_id       uuid REFERENCES ehr.facility,
    order_id          uuid REFERENCES ehr.service_order,
    care_plan_id      uuid REFERENCES ehr.care_plan,
    cpt               text,                             -- CPT or HCPCS
    snomed            text,
    text              text NOT NULL,
    status            text NOT NULL,                    -- preparation, in-progress, not-done, completed, ...
    starts_at         timestamptz,
    ends_at           timestamptz,
    site_snomed       text,                             -- body site
    reason_snomed     text,
    reason_text       text,
    reason_problem_id uuid REFERENCES ehr.problem
);

CREATE TABLE ehr.implant (
    id           uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    patient_id   uuid NOT NULL REFERENCES ehr.patient,
    procedure_id uuid REFERENCES ehr.procedure_done,    -- by which it came in
    snomed       text,
    text         text NOT NULL,
    status       text,                                  -- active, inactive, entered-in-error, unknown
    udi_hrf      text,                                  -- the UDI as on the label
    udi_di       text,                                  -- its device identifier
    distinct_id  text,                                  -- HCT/P: donation identification number
    lot          text,
    serial       text,
    manufactured date,
    expires      date
);

------------------------------------------------------------------------------------------------ groups

CREATE TABLE ehr.patient_group (
    id          uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    name        text NOT NULL,
    active      boolean NOT NULL DEFAULT true
);

-- Memberships are ended, never deleted; coming back is a new one. They outlive the patient, hence no foreign key.
CREATE TABLE ehr.patient_group_member (
    group_id    uuid NOT NULL REFERENCES ehr.patient_group,
    patient_id  uuid NOT NULL,
    added_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    removed_at  timestamptz,
    PRIMARY KEY (group_id, patient_id, added_at)
);
CREATE UNIQUE INDEX patient_group_member_once ON ehr.patient_group_member (group_id, patient_id)
    WHERE removed_at IS NULL;

------------------------------------------------------------------------------------------------ history
-- Written by the triggers of 0002 only. None has foreign keys: they outlive what they speak of.

-- Every write to a patient's record.
CREATE TABLE ehr.audit_log (
    id          uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    action      text NOT NULL CHECK (action IN ('insert', 'update', 'delete')),
    table_name  text NOT NULL,
    record_id   uuid NOT NULL,
    patient_id  uuid NOT NULL,
    provider_id uuid
);

-- Who last wrote a record: one row per exported record, and the Provenance of what the record is exported as.
CREATE TABLE ehr.record_author (
    id          uuid PRIMARY KEY DEFAULT ehr.uuid_v7(),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    record_id   uuid NOT NULL UNIQUE,
    patient_id  uuid NOT NULL,
    targets     text[] NOT NULL CHECK (cardinality(targets) > 0),  -- FHIR references: {Observation/<record_id>-bp, ...}
    recorded_at timestamptz NOT NULL,
    provider_id uuid,                                   -- null: not known, the practice answers for it
    practice_id uuid NOT NULL
);

-- Tombstones: what was there to export and is no more, or no more of this patient.
CREATE TABLE ehr.deleted_record (
    resource_type   text NOT NULL,
    fhir_id         text NOT NULL,
    patient_fhir_id text,                               -- null: a record of the practice's directory
    deleted_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

------------------------------------------------------------------------------------------------ indexes

-- Children are read by parent.
CREATE INDEX patient_name_parent       ON ehr.patient_name (patient_id);
CREATE INDEX patient_identifier_parent ON ehr.patient_identifier (patient_id);
CREATE INDEX patient_telecom_parent    ON ehr.patient_telecom (patient_id);
CREATE INDEX patient_address_parent    ON ehr.patient_address (patient_id);
CREATE INDEX allergy_reaction_parent   ON ehr.allergy_reaction (allergy_id);
CREATE INDEX care_team_member_parent   ON ehr.care_team_member (care_team_id);
CREATE INDEX goal_parent               ON ehr.goal (care_plan_id) WHERE care_plan_id IS NOT NULL;
CREATE INDEX lab_result_parent         ON ehr.lab_result (lab_report_id);
CREATE INDEX finding_parent            ON ehr.finding (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX finding_document          ON ehr.finding (document_id) WHERE document_id IS NOT NULL;
CREATE INDEX questionnaire_item_parent ON ehr.questionnaire_item (questionnaire_response_id);

-- Drugs are exported while something uses them.
CREATE INDEX prescription_drug ON ehr.prescription (drug_id) WHERE drug_id IS NOT NULL;
CREATE INDEX dispense_drug     ON ehr.dispense (drug_id) WHERE drug_id IS NOT NULL;

CREATE INDEX patient_group_member_patient ON ehr.patient_group_member (patient_id);
CREATE INDEX deleted_record_id            ON ehr.deleted_record (resource_type, fhir_id);
CREATE INDEX deleted_record_stamp         ON ehr.deleted_record (resource_type, deleted_at);

-- Exports of all patients go by primary key. Exports of groups go by patient, as the text that the views offer:
-- `<table>_cohort`. Exports with _since go by stamp: `<table>_stamp`.
CREATE INDEX patient_cohort ON ehr.patient ((id::text), id);

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY[
        'related_person', 'coverage', 'encounter', 'problem', 'allergy', 'care_team', 'care_plan', 'goal',
        'service_order', 'specimen', 'lab_report', 'lab_result', 'vital_set', 'questionnaire_response', 'document',
        'finding', 'immunization', 'prescription', 'dispense', 'procedure_done', 'implant', 'record_author']
    LOOP
        EXECUTE format('CREATE INDEX %I ON ehr.%I ((patient_id::text), id)', t || '_cohort', t);
        EXECUTE format('CREATE INDEX %I ON ehr.%I (updated_at)', t || '_stamp', t);
    END LOOP;

    FOREACH t IN ARRAY ARRAY['organization', 'facility', 'provider', 'provider_role', 'drug', 'patient'] LOOP
        EXECUTE format('CREATE INDEX %I ON ehr.%I (updated_at)', t || '_stamp', t);
    END LOOP;
END $$;
